"""The audit of dependencies: an advisory fails it, an index that says nothing does not pass for a clean one."""

import json
import subprocess

import pytest

from tests import dependencies

CLEAN = {"name": "cryptography", "version": "1", "vulns": []}
KNOWN = {"name": "other", "version": "2", "vulns": [{"id": "PYSEC-1", "fix_versions": ["3"], "aliases": []}]}
SKIPPED = {"name": "third", "skip_reason": "not found"}


@pytest.mark.parametrize(
    ("found", "status", "said"),
    [
        ([CLEAN, SKIPPED], 0, "1 of"),
        ([CLEAN, KNOWN], 1, "other 2: PYSEC-1; fixed in: 3"),
        ([SKIPPED], 0, "NOT audited"),
        (None, 0, "NOT audited"),
    ],
)
def test_what_was_found_decides(found, status, said, monkeypatch, capsys):
    def answer(command, **_):
        if found is None:
            raise subprocess.TimeoutExpired(command, 1)
        return subprocess.CompletedProcess(command, 1, json.dumps({"dependencies": found}), "")

    monkeypatch.setattr(subprocess, "run", answer)
    assert dependencies.main() == status
    assert said in capsys.readouterr().out

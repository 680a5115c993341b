"""Every system call that changes a file, failing once, in every kind of work; see stepper.py."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.fault.shim.control import Shim
from tests.integration.processes import ROOT, private_environment

pytestmark = pytest.mark.long_run


def test_no_failing_call_loses_or_resurrects_anything(shim_library, environment, plan, report):
    with tempfile.TemporaryDirectory(dir="/dev/shm") as name:
        folder = Path(name)
        shim = Shim(shim_library, folder / "data", folder / "page")
        arguments = [str(folder), "both" if plan.long else "each"]
        done = subprocess.run(
            [sys.executable, "-m", "tests.fault.stepper", *arguments],
            env=private_environment(folder) | environment | shim.environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    results = json.loads(done.stdout.splitlines()[-1])
    for kind, result in results.items():
        figures = report.of(f"EIO, ENOSPC: each call of {kind}")
        figures.cycles += result["cycles"]
        figures.acknowledged_writes += result["writes"]
        figures.acknowledged_deletes += result["deletes"]
        figures.lost += result["lost"]
        figures.resurrected += result["resurrected"]
    assert set(results) == {"commit", "delete", "embed", "flush", "compaction"}
    for result in results.values():
        assert (result["lost"], result["resurrected"]) == (0, 0)
        assert result["cycles"] > result["calls"] // 4 > 0, "the faults did not happen"

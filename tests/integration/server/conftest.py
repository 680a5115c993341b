"""The command line on the shared server's data, in this process: it takes less time than starting one."""

import io
import sys
from collections.abc import Callable
from typing import NamedTuple

import pytest

from cli.main import main
from tests.integration.processes import Server


class Ran(NamedTuple):
    """What a command wrote, and what it said beside."""

    out: str
    said: str


@pytest.fixture
def ostraka(server: Server, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """Run a command with the server's keys; return what it wrote and what it said. ``data=False`` names no data."""

    def run(*arguments: str, status: int = 0, given: str = "", data: bool = True, **environment: str) -> Ran:
        with monkeypatch.context() as patch:
            for name, value in {
                "XDG_CONFIG_HOME": str(server.folder / "config"),
                "COLUMNS": "250",
                **environment,
            }.items():
                patch.setenv(name, value)
            patch.chdir(server.folder)
            patch.setattr(sys, "argv", ["ostraka", *arguments, *(["--data", str(server.data)] if data else [])])
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given.encode())))
            with pytest.raises(SystemExit) as ended:
                main()
        out, said = capfd.readouterr()
        assert (ended.value.code or 0) == status, said
        return Ran(out, said)

    return run

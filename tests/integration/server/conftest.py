"""The command line on the shared server's data, in this process: it takes less time than starting one."""

from collections.abc import Callable
from typing import NamedTuple

import pytest

from tests.integration.processes import Server
from tests.integration.server.commanding import run_here


class Ran(NamedTuple):
    """What a command wrote, and what it said beside."""

    out: str
    said: str


@pytest.fixture
def ostraka(server: Server, capfd: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """Run a command with the server's keys; return what it wrote and what it said. ``data=False`` names no data."""

    def run(*arguments: str, status: int = 0, given: str = "", data: bool = True, **environment: str) -> Ran:
        named = ["--data", str(server.data)] if data else []
        ended = run_here(server.folder, *arguments, *named, given=given, **environment)
        out, said = capfd.readouterr()
        assert ended == status, said
        return Ran(out, said)

    return run

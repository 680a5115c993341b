"""The command line on the shared server's data, in this process: it takes less time than starting one."""

from collections.abc import Callable
from typing import NamedTuple

import pytest

from tests.commands import run_here
from tests.integration.processes import Server


class Ran(NamedTuple):
    """What a command wrote, and what it said beside."""

    out: str
    said: str


@pytest.fixture
def ostraka(server: Server) -> Callable[..., Ran]:
    """Run a command with the server's keys; return what it wrote and what it said. ``data=False`` names no data."""

    def run(*arguments: str, status: int = 0, given: str = "", data: bool = True, **environment: str) -> Ran:
        done = run_here(server.folder, *arguments, given=given, data=data, environment=environment)
        assert done.status == status, done.said
        return Ran(done.out, done.said)

    return run

"""The command line in this process, on a folder's data: it takes less time than starting one."""

import io
import os
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NamedTuple

import pytest
import structlog

from cli.main import main
from tests.integration.processes import private_environment


class Ran(NamedTuple):
    """How a command ended, what it wrote, and what it said beside."""

    status: int
    out: str
    said: str


def run_here(
    folder: Path, *arguments: str, given: str = "", data: bool = True, environment: dict[str, str] | None = None
) -> Ran:
    """Run a command in the folder, with its keys, on its data unless told not to name them."""
    named = ["--data", str(folder / "data")] if data else []
    out, said = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(said):
        keep_private(patch, folder)
        for name, value in {"COLUMNS": "250", **(environment or {})}.items():
            patch.setenv(name, value)
        patch.chdir(folder)
        patch.setattr(sys, "argv", ["ostraka", *arguments, *named])
        patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given.encode())))
        with pytest.raises(SystemExit) as ended:
            main()
    structlog.reset_defaults()  # the command sent the logs to a stream that nobody reads any more
    code = ended.value.code
    return Ran(code if isinstance(code, int) else 0, _text(out), _text(said))


def keep_private(patch: pytest.MonkeyPatch, folder: Path) -> None:
    """Let this process have the settings and keys that a process started by a test in the folder has."""
    private = private_environment(folder)
    for name in os.environ.keys() - private.keys():
        patch.delenv(name)
    patch.setenv("XDG_CONFIG_HOME", private["XDG_CONFIG_HOME"])


def _text(stream: io.TextIOWrapper) -> str:
    assert isinstance(stream.buffer, io.BytesIO)
    return stream.buffer.getvalue().decode(errors="replace")

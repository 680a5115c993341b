"""The export environment: a virtual environment that lives only while a model is being made."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from core.errors import ConfigurationError

Progress = Callable[[str], None]

RECIPES: Final = Path(__file__).parent / "export"  # the script and its pinned packages, shipped beside us
_TIMEOUT_S: Final = 3600.0  # one step: torch over a slow line; beyond that something hangs
_ERROR_CHARS: Final = 1_500  # the end of a failed step's output, where the reason is


class ExportEnvironment:
    """A fresh virtual environment's Python, without its packages until ``install`` is called."""

    def __init__(self, folder: Path) -> None:
        self._python = folder / "bin" / "python"

    def install(self) -> None:
        """Install the pinned export packages (torch among them: 1 GB and more, some minutes)."""
        requirements, constraints = RECIPES / "requirements.txt", RECIPES / "constraints.txt"
        self.pip("install", "--only-binary", ":all:", "-c", str(constraints), "-r", str(requirements))

    def pip(self, command: str, *arguments: str) -> None:
        """Run pip with the operator's own index settings; raises ``ConfigurationError`` with its reason."""
        run_step([str(self._python), "-m", "pip", command, "--quiet", "--no-input", *arguments])

    def convert(self, source: Path, target: Path) -> None:
        """Export ``source`` into ``target`` in every precision; raises ``ConfigurationError`` with the reason."""
        run_step([str(self._python), str(RECIPES / "convert.py"), str(source), str(target)])


@contextmanager
def export_environment(folder: Path, progress: Progress) -> Iterator[ExportEnvironment]:
    """Make an environment in ``folder`` and remove it at the end, whatever happens.

    Raises ``ConfigurationError`` where Python cannot make virtual environments.
    """
    shutil.rmtree(folder, ignore_errors=True)  # what a killed run left
    progress("Making a temporary environment for the export")
    try:
        run_step([sys.executable, "-m", "venv", str(folder)])
        yield ExportEnvironment(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def run_step(command: Sequence[str]) -> None:
    """Run one step of the export; raises ``ConfigurationError`` with the end of its output if it fails.

    The step sees the operator's environment (package index, proxy) but none of Ostraka's settings, keys
    included, and nothing that would mix another environment's packages in or call the hub.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("OSTRAKA_") and name not in {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"}
    }
    quiet = {
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "ORT_DISABLE_TELEMETRY": "1",
    }
    try:
        done = subprocess.run(  # noqa: S603 - our own interpreter and fixed arguments, no shell
            command,
            env={**kept, **quiet},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigurationError(f"A step of the model export could not be run: {error}") from error
    if done.returncode:
        raise ConfigurationError(
            f"A step of the model export failed ({Path(command[0]).name} exited with {done.returncode}):\n"
            f"{done.stdout[-_ERROR_CHARS:].strip()}"
        )

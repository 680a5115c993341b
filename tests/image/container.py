"""A command in a built image's root file system, started and stopped as a container is."""

import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import psutil

from tests.image.rootfs import Rootfs

_WAIT_S: Final = 120.0


class Container:
    """One running command; its own process ids, no powers, a root that is read-only."""

    def __init__(self, rootfs: Rootfs, words: Sequence[str], variables: Mapping[str, str], data: Path, log: Path):
        self._log = log
        self._rootfs, self._variables, self._data = rootfs, variables, data
        with log.open("wb") as out:
            self._entry = subprocess.Popen(rootfs.confined(words, variables, data), stdout=out, stderr=out)

    @property
    def said(self) -> str:
        """Everything that it wrote."""
        return self._log.read_text(errors="replace")

    def init(self) -> psutil.Process:
        """Return its first process: the one that a signal to the container reaches."""
        [child] = psutil.Process(self._entry.pid).children()
        return child

    def wait(self) -> int:
        """Return its exit status."""
        return self._entry.wait(_WAIT_S)

    def stop(self) -> int:
        """Send SIGTERM to its first process, as `docker stop` does, and return the exit status."""
        self.init().send_signal(signal.SIGTERM)
        return self.wait()

    def kill(self) -> None:
        """Leave nothing running: with its first process ends every process of a container."""
        if self._entry.poll() is None:
            self.init().kill()
            self._entry.wait(_WAIT_S)

    def until_healthy(self, check: Sequence[str]) -> None:
        """Repeat a health check, run beside it in the same image, until it succeeds."""
        deadline = time.monotonic() + _WAIT_S
        command = self._rootfs.confined(check, self._variables, self._data)
        while subprocess.run(command, capture_output=True, check=False).returncode:
            if self._entry.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"never healthy: {self.said}")
            time.sleep(0.5)

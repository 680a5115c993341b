"""A disk that fills up: the shim says so, or, in the long run and as root, a small tmpfs really does."""

import errno
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.fault.shim.control import CHANGING, GROWING, Call, Shim

_BYTES = 192 * 2**20
_BLOCK = 4_096


class Disk:
    """Where a topology under the shim keeps its data."""

    def __init__(self, folder: Path, shim: Shim, *, real: bool) -> None:
        folder.mkdir()
        self._folder = folder
        self._shim = shim
        mount = ("mount", "-t", "tmpfs", "-o", f"size={_BYTES}", "tmpfs", folder)
        self._mounted = real and os.geteuid() == 0 and _run(*mount) == 0

    @contextmanager
    def full(self) -> Iterator[None]:
        """Leave not one byte while the block runs."""
        if not self._mounted:
            with self._shim.failing(GROWING, errno.ENOSPC):
                yield
            return
        ballast = self._folder / "ballast"
        with ballast.open("wb", buffering=0) as file:
            block = bytes(_BLOCK)
            while _written(file.fileno(), block):
                pass
        try:
            yield
        finally:
            ballast.unlink()

    @contextmanager
    def read_only(self) -> Iterator[None]:
        """Refuse every change, as a file system does that was remounted after an error."""
        with self._shim.failing(CHANGING, errno.EROFS):
            yield

    @contextmanager
    def unsynced(self) -> Iterator[None]:
        """Fail every sync."""
        with self._shim.failing(Call.SYNC, errno.EIO):
            yield

    def close(self) -> None:
        if self._mounted:
            _run("umount", "--lazy", self._folder)


def _run(*command: str | Path) -> int:
    return subprocess.run(command, check=False, capture_output=True).returncode


def _written(descriptor: int, block: bytes) -> bool:
    try:
        return os.write(descriptor, block) > 0
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        return False

"""Faults that processes under test meet in their own system calls; see shim.c."""

import errno
import mmap
import os
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntFlag
from pathlib import Path
from typing import Self

_SOURCE = Path(__file__).with_name("shim.c")
_FIELDS = ("calls", "first", "last", "error", "counted", "failed", "offset_us")
_FOR_EVER = 2**62


class Call(IntFlag):
    """Kinds of calls that change files."""

    WRITE = 1
    SYNC = 2
    NAME = 4
    CREATE = 8
    REMOVE = 16
    OPEN = 32  # an existing file, for writing


GROWING = Call.WRITE | Call.NAME | Call.CREATE  # what a full disk refuses
CHANGING = GROWING | Call.REMOVE | Call.OPEN  # what a read-only one refuses
COMMITTING = GROWING | Call.SYNC | Call.REMOVE


def build(folder: Path) -> Path:
    """Compile the shim and return the library."""
    library = folder / "shim.so"
    command = ["cc", "-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror", "-o", library, _SOURCE, "-ldl"]
    subprocess.run(command, check=True)
    return library


class Shim:
    """The control page of the processes that were started with ``environment``, all at once."""

    def __init__(self, library: Path, below: Path, page: Path) -> None:
        """Faults concern files below ``below`` only; ``page`` is made anew."""
        page.write_bytes(bytes(8 * len(_FIELDS)))
        self.environment = {"LD_PRELOAD": str(library), "SHIM_CONTROL": str(page), "SHIM_BELOW": str(below)}
        self._page = _mapped(page)

    @classmethod
    def of_this_process(cls) -> Self:
        """The control page of the shim that this process was started under."""
        shim = cls.__new__(cls)
        shim.environment = {name: os.environ[name] for name in ("LD_PRELOAD", "SHIM_CONTROL", "SHIM_BELOW")}
        shim._page = _mapped(Path(os.environ["SHIM_CONTROL"]))
        return shim

    def get(self, name: str) -> int:
        return struct.unpack_from("q", self._page, 8 * _FIELDS.index(name))[0]

    def set(self, **values: int) -> None:
        for name, value in values.items():
            struct.pack_into("q", self._page, 8 * _FIELDS.index(name), value)

    @contextmanager
    def failing(self, calls: Call, error: int, first: int = 1, last: int = _FOR_EVER) -> Iterator[None]:
        """Make the calls from the ``first`` to the ``last`` fail while the block runs; count all of them."""
        self.set(counted=0, failed=0, first=first, last=last, error=error)
        self.set(calls=calls)
        try:
            yield
        finally:
            self.set(calls=0)

    @contextmanager
    def counting(self, calls: Call) -> Iterator[None]:
        """Count calls; none fails."""
        with self.failing(calls, errno.EIO, first=_FOR_EVER):
            yield


def _mapped(page: Path) -> mmap.mmap:
    with page.open("r+b") as file:
        return mmap.mmap(file.fileno(), 0)

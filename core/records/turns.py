"""Turns at writing: one writer at a time among the threads and processes of a host.

SQLite polls its own write lock with sleeps that grow to 100 ms, many times longer than our transactions. This lock
in front of it is looked at every half millisecond, so that a write waits for the writers before it and no longer. It
is advisory: SQLite's lock decides, and the kernel frees this one when a process dies.
"""

import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from core.errors import Unavailable

_LOOK_EVERY_S: Final = 0.0005


class WriteTurns:
    """The turns at one database file."""

    def __init__(self, path: Path, timeout_s: float) -> None:
        self._threads = threading.Lock()
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._timeout_s = timeout_s
        self._closed = False

    @contextmanager
    def take(self) -> Iterator[None]:
        """Hold the turn. Raises ``Unavailable`` when another process keeps it for too long, or after ``close``."""
        with self._threads:
            if self._closed:
                raise Unavailable("the record store is closed", code="stopping")
            self._wait()
            try:
                yield
            finally:
                fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def close(self) -> None:
        """Let go of the file, once: the number of a closed descriptor may be another file's by now."""
        with self._threads:
            if not self._closed:
                os.close(self._descriptor)
            self._closed = True

    def _wait(self) -> None:
        deadline = time.monotonic() + self._timeout_s
        while True:
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise Unavailable("another process keeps the record store locked", code="store_busy") from None
                time.sleep(_LOOK_EVERY_S)
            else:
                return

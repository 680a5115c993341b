"""Where copies lie while a backup is made or read: a private folder of the data directory, one user at a time."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

from core.durability import make_durable_directory
from core.errors import Unavailable

_FOLDER: Final = "backup-work"
_PATIENCE_S: Final = 2.0  # one that has been sent is tidied up in less


@contextmanager
def workplace(root: Path) -> Iterator[Path]:
    """Yield an empty folder that is removed afterwards; what a process that died left there goes first.

    The files are copies of record stores: sealed, as the ones they were made from. Raises ``Unavailable`` while
    another backup of this data directory is being made.
    """
    folder = root / _FOLDER
    lock = FileLock(root / "backup.lock", timeout=_PATIENCE_S, thread_local=False)  # held from thread to thread
    try:
        with lock:
            shutil.rmtree(folder, ignore_errors=True)
            make_durable_directory(folder)
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)
    except Timeout:
        raise Unavailable("another backup of this server is being made; try again", code="backup_running") from None

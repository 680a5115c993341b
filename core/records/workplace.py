"""Where copies lie while a backup is made or read: a private folder of the data directory, one user at a time."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

from core.durability import make_durable_directory, sync
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
    try:
        with _lock(root, _PATIENCE_S):
            shutil.rmtree(folder, ignore_errors=True)
            make_durable_directory(folder)
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)
    except Timeout:
        raise Unavailable("another backup of this server is being made; try again", code="backup_running") from None


def clear_workplace(root: Path) -> bool:
    """Remove what a process that died left there; ``False`` while somebody works there. Raises ``Unavailable``."""
    folder = root / _FOLDER
    if not folder.exists():
        return True
    try:
        with _lock(root, 0):
            shutil.rmtree(folder)
            sync(root)
    except Timeout:
        return False
    except OSError as error:
        raise Unavailable(f"{folder} cannot be removed: {error.strerror}", code="store_unavailable") from None
    return True


def _lock(root: Path, patience_s: float) -> FileLock:
    return FileLock(root / "backup.lock", timeout=patience_s, thread_local=False)  # held from thread to thread

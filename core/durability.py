"""Making names durable: a new file or folder is there after a crash only once its parent was synced."""

import errno
import os
import secrets
from collections.abc import Iterable
from pathlib import Path


def sync(path: Path) -> None:
    """Flush a file's bytes, or a directory's entries, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_durable_directory(path: Path) -> None:
    """Create a private directory with its parents, each entry synced. Raises ``OSError``."""
    if path.exists() and not path.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "is not a directory", str(path))
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    for folder in reversed(missing):
        folder.mkdir(mode=0o700, exist_ok=True)
        sync(folder.parent)


def write_whole(path: Path, chunks: Iterable[bytes]) -> None:
    """Write a new private file that appears at once, whole and synced, or not at all.

    Raises ``FileExistsError`` when there is one of that name, ``OSError``, and what ``chunks`` raises.
    """
    partial = path.with_name(f".{path.name}.{secrets.token_hex(8)}.partial")
    if path.exists():
        raise FileExistsError(errno.EEXIST, "exists", str(path))
    try:
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
            for chunk in chunks:
                out.write(chunk)
            out.flush()
            os.fsync(out.fileno())
        partial.rename(path)
        sync(path.parent)
    finally:
        partial.unlink(missing_ok=True)

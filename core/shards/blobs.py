"""The blob store: sealed shards under opaque names, immutable once put; and the one that is a local directory.

``obstore`` makes a local directory and an object store nearly one interface. Its local store never calls fsync, so
``LocalBlobs`` does: a put returns only when the bytes and the directory entry are on the disk.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore

from core.durability import make_durable_directory, sync
from core.errors import IntegrityError, Unavailable


@dataclass(frozen=True)
class StoredFile:
    """A file of the blob store: a blob, or what is left of a put that was cut off. Times in microseconds."""

    name: str
    modified_at: int
    size: int


class Blobs(Protocol):
    """The sealed files of one company. A store that fails or cannot be reached raises ``Unavailable``."""

    def put(self, name: str, chunks: Iterable[bytes]) -> int:
        """Store a blob durably; return its size in bytes. Raises ``Unavailable``; then nobody may list it."""

    def get(self, name: str) -> Iterator[bytes]:
        """Yield a blob's bytes. Raises ``IntegrityError`` when it is missing, ``Unavailable`` when it is unreadable."""

    def delete(self, name: str) -> None:
        """Remove a blob, or the rest of a put; removing one that is gone is no error. Raises ``Unavailable``."""

    def size(self, name: str) -> int | None:
        """Return the bytes of a blob, none when it is missing. Raises ``Unavailable``."""

    def names(self, prefix: str = "") -> Iterator[str]:
        """Yield the names of all blobs below a prefix, which ends at a slash. Raises ``Unavailable``."""

    def files(self) -> Iterator[StoredFile]:
        """Yield all that lies there, also what is left of puts, where that can be seen. Raises ``Unavailable``."""

    def check(self) -> None:
        """Raise ``Unavailable`` when the store as a whole cannot be reached."""


def missing(name: str) -> IntegrityError:
    """Return the error of a blob that is not there."""
    return IntegrityError(f"shard {Path(name).stem} is missing from the blob store", code="shard_missing")


class LocalBlobs:
    """Sealed files below one directory."""

    def __init__(self, root: Path) -> None:
        make_durable_directory(root)
        self._root = root
        self._store = LocalStore(str(root))

    def put(self, name: str, chunks: Iterable[bytes]) -> int:
        """See ``Blobs``."""
        sized = Counted(chunks)
        with _translated("written"):
            obstore.put(self._store, name, sized, use_multipart=True)
            path = self._root / name
            sync(path)
            for folder in path.relative_to(self._root).parents:
                sync(self._root / folder)
        return sized.size

    def get(self, name: str) -> Iterator[bytes]:
        """See ``Blobs``."""
        try:
            with _translated("read"):
                for chunk in obstore.get(self._store, name).stream(min_chunk_size=1 << 20):
                    yield bytes(chunk)
        except FileNotFoundError:
            raise missing(name) from None

    def delete(self, name: str) -> None:
        """See ``Blobs``."""
        with _translated("removed"), suppress(FileNotFoundError):
            (self._root / name).unlink()
            sync((self._root / name).parent)

    def size(self, name: str) -> int | None:
        """See ``Blobs``."""
        with _translated("found"), suppress(FileNotFoundError):
            return int(obstore.head(self._store, name)["size"])
        return None

    def names(self, prefix: str = "") -> Iterator[str]:
        """See ``Blobs``."""
        with _translated("listed"):
            for page in obstore.list(self._store, prefix=prefix or None):
                for entry in page:
                    yield str(entry["path"])

    def files(self) -> Iterator[StoredFile]:
        """Yield every file, also what is left of puts that were cut off, which nothing else lists."""
        with _translated("listed"):
            for folder, _, names in os.walk(self._root, onerror=_raise):
                for path in (Path(folder) / name for name in names):
                    with suppress(FileNotFoundError):  # removed meanwhile
                        found = path.lstat()
                        name = path.relative_to(self._root).as_posix()
                        yield StoredFile(name, found.st_mtime_ns // 1_000, found.st_size)

    def check(self) -> None:
        """Do nothing: a directory cannot be told from its files."""


def _raise(error: OSError) -> None:
    """Let a folder that cannot be read be an error, and not an empty one; it may be removed meanwhile."""
    if not isinstance(error, FileNotFoundError):
        raise error


@contextmanager
def _translated(what: str) -> Iterator[None]:
    """Turn what a failing disk raises into ``Unavailable``. A missing file is for the caller to judge."""
    try:
        yield
    except FileNotFoundError:
        raise
    except (BaseError, OSError) as error:
        raise Unavailable(
            f"a stored shard could not be {what}: {type(error).__name__}; look at the disk", code="blob_unavailable"
        ) from None


class Counted:
    """An iterator that remembers how many bytes went through it."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self.size = 0

    def __iter__(self) -> "Counted":
        return self

    def __next__(self) -> bytes:
        chunk = next(self._chunks)
        self.size += len(chunk)
        return chunk

"""The blob store: sealed shards under opaque names, immutable once put.

``obstore`` makes a local directory and an object store one interface. Its local store never calls fsync, so this
seam does: a put returns only when the bytes and the directory entry are on the disk.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import obstore
from obstore.store import LocalStore

from core.durability import make_durable_directory, sync
from core.errors import IntegrityError


class LocalBlobs:
    """Sealed files below one directory."""

    def __init__(self, root: Path) -> None:
        make_durable_directory(root)
        self._root = root
        self._store = LocalStore(str(root))

    def put(self, name: str, chunks: Iterable[bytes]) -> int:
        """Store a blob durably; return its size in bytes."""
        sized = _Counted(chunks)
        obstore.put(self._store, name, sized, use_multipart=True)
        path = self._root / name
        sync(path)
        for folder in path.relative_to(self._root).parents:
            sync(self._root / folder)
        return sized.size

    def get(self, name: str) -> Iterator[bytes]:
        """Yield a blob's bytes. Raises ``IntegrityError`` when it is missing."""
        try:
            for chunk in obstore.get(self._store, name).stream(min_chunk_size=1 << 20):
                yield bytes(chunk)
        except FileNotFoundError:
            raise IntegrityError(f"shard {Path(name).stem} is missing from the blob store") from None

    def delete(self, name: str) -> None:
        """Remove a blob; removing one that is gone is no error."""
        try:
            obstore.delete(self._store, name)
        except FileNotFoundError:
            return

    def names(self, prefix: str = "") -> Iterator[str]:
        """Yield the names of all blobs below a prefix."""
        for page in obstore.list(self._store, prefix=prefix or None):
            for entry in page:
                yield str(entry["path"])


class _Counted:
    """An iterator that remembers how many bytes went through it."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self.size = 0

    def __iter__(self) -> "_Counted":
        return self

    def __next__(self) -> bytes:
        chunk = next(self._chunks)
        self.size += len(chunk)
        return chunk

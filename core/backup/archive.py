"""The plaintext of a backup: a tar, written and read piece by piece, with nothing of the host in its headers."""

import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from core.crypto.sealedfile import CHUNK_BYTES
from core.errors import IntegrityError

END: Final = bytes(2 * tarfile.BLOCKSIZE)
_USTAR_BYTES_MAX: Final = 8 * 2**30  # a larger size needs GNU's form of the header


@dataclass(frozen=True)
class Entry:
    """A file of the archive."""

    name: str
    size: int


def entry_bytes(entry: Entry) -> int:
    """Return the bytes that an entry takes in the archive."""
    return tarfile.BLOCKSIZE + entry.size + _padding(entry.size)


def write_entry(entry: Entry, chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield an entry's bytes. Raises ``IntegrityError`` when ``chunks`` are not as many bytes as it says."""
    info = tarfile.TarInfo(entry.name)
    info.size = entry.size
    yield info.tobuf(tarfile.GNU_FORMAT if entry.size >= _USTAR_BYTES_MAX else tarfile.USTAR_FORMAT)
    written = 0
    for chunk in chunks:
        written += len(chunk)
        yield chunk
    if written != entry.size:
        raise IntegrityError("a stored file is not as long as it was a moment ago")
    yield bytes(_padding(entry.size))


class ArchiveReader:
    """Reads an archive from a stream of pieces, in order and once."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._held = memoryview(b"")

    def next(self) -> Entry:
        """Return the next entry; its bytes must be taken before the one after it. Raises ``IntegrityError``."""
        try:
            info = tarfile.TarInfo.frombuf(self._exactly(tarfile.BLOCKSIZE), "utf-8", "strict")
        except (tarfile.HeaderError, ValueError) as error:
            raise IntegrityError(f"the backup's archive cannot be read: {type(error).__name__}") from None
        if not info.isreg() or info.size < 0:
            raise IntegrityError("the backup's archive holds something other than files")
        return Entry(info.name, info.size)

    def take(self, entry: Entry) -> Iterator[bytes]:
        """Yield the bytes of the entry at hand. Raises ``IntegrityError`` when the archive ends too soon."""
        left = entry.size
        while left:
            piece = self._some(min(left, CHUNK_BYTES))
            left -= len(piece)
            yield piece
        if any(self._exactly(_padding(entry.size))):
            raise IntegrityError("the backup's archive is not one of ours")

    def end(self) -> None:
        """Read on to the end, where the stream proves that it is whole. Raises ``IntegrityError``."""
        if any(self._exactly(len(END))) or self._fill():
            raise IntegrityError("the backup's archive is not one of ours")

    def _exactly(self, size: int) -> bytes:
        found = b""
        while len(found) < size:
            found += self._some(size - len(found))
        return found

    def _some(self, size: int) -> bytes:
        if not self._fill():
            raise IntegrityError("the backup's archive ends too soon")
        piece, self._held = self._held[:size], self._held[size:]
        return bytes(piece)

    def _fill(self) -> bool:
        while not self._held:
            piece = next(self._pieces, None)
            if piece is None:
                return False
            self._held = memoryview(piece)
        return True


def _padding(size: int) -> int:
    return -size % tarfile.BLOCKSIZE

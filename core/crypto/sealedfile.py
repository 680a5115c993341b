"""Sealed files: shards and backups.

    file   := header | stream
    header := magic (8 bytes, "OSTRAKA" 0x01) | purpose (1 byte) | zero (3 bytes) | key version (u32, big-endian)
    stream := C2SP chunked encryption, Cobblestone-256 (AES-256-GCM, key-committing), context = header + address

Each piece that is released is authentic, but truncation shows only at the end of the stream. So nothing is used
before the end agrees: a shard's plaintext goes to a temporary file in RAM-backed tmpfs, a backup's into a folder that
is not in place yet, and both are removed unless ``finalize()`` agrees.
"""

import struct
from collections.abc import Iterable, Iterator
from enum import IntEnum
from pathlib import Path

from cryptography.cobblestone import Cobblestone256Decryptor, Cobblestone256Encryptor
from cryptography.exceptions import InvalidTag

from core.crypto.envelope import address
from core.errors import IntegrityError, WrongKey

_HEADER = struct.Struct(">8sB3sI")
_MAGIC = b"OSTRAKA\x01"
HEADER_BYTES = _HEADER.size
CHUNK_BYTES = 1 << 20
_SALT_AND_COMMITMENT_BYTES = 56
_CHUNK_PLAIN_BYTES = 16_384  # of the stream's own chunks
_TAG_BYTES = 16


class Purpose(IntEnum):
    """What a sealed file is; part of what is authenticated."""

    SHARD = 1
    BACKUP = 2


def seal_stream(
    chunks: Iterable[bytes], *, key: bytes, key_version: int, purpose: Purpose, where: tuple[str, ...]
) -> Iterator[bytes]:
    """Yield the sealed file of a plaintext given in chunks, for the address ``where``."""
    header = _HEADER.pack(_MAGIC, purpose, bytes(3), key_version)
    yield header
    encryptor = Cobblestone256Encryptor(key, _context(header, where))
    for chunk in chunks:
        yield encryptor.update(chunk)
    yield encryptor.finalize()


def sealed_bytes(plain_bytes: int) -> int:
    """Return how long the sealed file of a plaintext is."""
    return (
        HEADER_BYTES + _SALT_AND_COMMITMENT_BYTES + plain_bytes + _TAG_BYTES * (plain_bytes // _CHUNK_PLAIN_BYTES + 1)
    )


def file_key_version(header: bytes, purpose: Purpose) -> int:
    """Return the key version a sealed file names. Raises ``IntegrityError`` when the header is not ours."""
    if len(header) < HEADER_BYTES:
        raise IntegrityError("a sealed file is truncated")
    magic, found, zero, key_version = _HEADER.unpack_from(header)
    if magic != _MAGIC or found != purpose or zero != bytes(3):
        raise IntegrityError("a sealed file has a foreign header")
    version: int = key_version
    return version


def open_to_file(
    chunks: Iterable[bytes],
    target: Path,
    *,
    key: bytes,
    key_version: int,
    purpose: Purpose,
    where: tuple[str, ...],
) -> int:
    """Authenticate a sealed file given in chunks and write its plaintext to ``target``; return its size.

    ``target`` must lie in tmpfs; it exists afterwards only if every byte was authentic. Raises ``WrongKey`` when
    the file names another key version, ``IntegrityError`` when it was changed, truncated, extended or moved.
    """
    pieces = open_stream(chunks, key=key, key_version=key_version, purpose=purpose, where=where)
    size = 0
    out = target.open("xb")  # one that exists is not ours to remove
    try:
        with out:
            for piece in pieces:
                size += out.write(piece)
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    return size


def authenticate(
    chunks: Iterable[bytes], *, key: bytes, key_version: int, purpose: Purpose, where: tuple[str, ...]
) -> None:
    """Check a sealed file given in chunks, keeping nothing of its plaintext. Raises as :func:`open_to_file` does."""
    for _ in open_stream(chunks, key=key, key_version=key_version, purpose=purpose, where=where):
        pass


def open_stream(
    chunks: Iterable[bytes], *, key: bytes, key_version: int, purpose: Purpose, where: tuple[str, ...]
) -> Iterator[bytes]:
    """Yield the authentic pieces of a sealed file; it is whole only if the iteration ends without an error.

    Raises ``WrongKey`` when the file names another key version, ``IntegrityError`` when it was changed, truncated,
    extended or moved.
    """
    stream = iter(chunks)
    head = b""
    while len(head) < HEADER_BYTES and (piece := next(stream, None)) is not None:
        head += piece
    if file_key_version(head, purpose) != key_version:
        raise WrongKey("a sealed file names another version of its key")
    header, rest = head[:HEADER_BYTES], head[HEADER_BYTES:]
    decryptor = Cobblestone256Decryptor(key, _context(header, where))
    try:
        yield decryptor.update(rest)
        for chunk in stream:
            yield decryptor.update(chunk)
        yield decryptor.finalize()
    except InvalidTag:
        raise IntegrityError("a sealed file failed authentication: changed, truncated or moved") from None


def _context(header: bytes, where: tuple[str, ...]) -> bytes:
    return header + address("file", *where)

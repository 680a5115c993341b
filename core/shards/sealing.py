"""Between a shard's folder in tmpfs and its sealed blob."""

from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import TypedDict

from core.crypto.keyring import NamespaceKeys
from core.crypto.keys import NamespaceKey
from core.crypto.sealedfile import Purpose, authenticate, file_key_version, open_to_file, seal_stream
from core.shards.archive import pack, read_chunks, unpack
from core.shards.blobs import Blobs

ShardKeys = NamespaceKey | NamespaceKeys  # one version, or all that there are


def blob_name(namespace: str, shard: str) -> str:
    """Return the name of a shard's blob; both parts are opaque ids."""
    return f"{namespace}/{shard}.shard"


def put_shard(blobs: Blobs, key: NamespaceKey, shard: str, folder: Path, archive: Path) -> int:
    """Seal a built shard and store it durably; return the blob's bytes. ``archive`` is a scratch path in tmpfs."""
    pack(folder, archive)
    try:
        return blobs.put(
            blob_name(key.namespace, shard),
            seal_stream(
                read_chunks(archive),
                key=key.file_key,
                key_version=key.version,
                purpose=Purpose.SHARD,
                where=(key.company, key.namespace, shard),
            ),
        )
    finally:
        archive.unlink(missing_ok=True)


def fetch_shard(blobs: Blobs, keys: ShardKeys, shard: str, folder: Path) -> None:
    """Fetch, authenticate, decrypt and unpack a shard into ``folder`` in tmpfs.

    Raises ``IntegrityError`` when it is missing or not what was put, ``Unavailable`` when it or its key cannot be had.
    """
    archive = folder.with_suffix(".tar")
    chunks, place = _stored(blobs, keys, shard)
    open_to_file(chunks, archive, **place)
    try:
        unpack(archive, folder)
    finally:
        archive.unlink()


def check_shard(blobs: Blobs, keys: ShardKeys, shard: str) -> None:
    """Read and authenticate a stored shard, keeping nothing of it. Raises as :func:`fetch_shard` does."""
    chunks, place = _stored(blobs, keys, shard)
    authenticate(chunks, **place)


class _Place(TypedDict):
    """What a sealed file is opened with."""

    key: bytes
    key_version: int
    purpose: Purpose
    where: tuple[str, ...]


def _stored(blobs: Blobs, keys: ShardKeys, shard: str) -> tuple[Iterable[bytes], _Place]:
    """Return a shard's blob and what opens it: the key of the version that it names."""
    chunks = iter(blobs.get(blob_name(keys.namespace, shard)))
    first = next(chunks, b"")
    key = keys.of_version(file_key_version(first, Purpose.SHARD))
    return chain([first], chunks), _Place(
        key=key.file_key,
        key_version=key.version,
        purpose=Purpose.SHARD,
        where=(key.company, key.namespace, shard),
    )

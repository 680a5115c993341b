"""Between a shard's folder in tmpfs and its sealed blob."""

from pathlib import Path

from core.crypto.keys import NamespaceKey
from core.crypto.sealedfile import Purpose, authenticate, open_to_file, seal_stream
from core.shards.archive import pack, read_chunks, unpack
from core.shards.blobs import LocalBlobs


def blob_name(namespace: str, shard: str) -> str:
    """Return the name of a shard's blob; both parts are opaque ids."""
    return f"{namespace}/{shard}.shard"


def put_shard(blobs: LocalBlobs, key: NamespaceKey, shard: str, folder: Path, archive: Path) -> int:
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


def fetch_shard(blobs: LocalBlobs, key: NamespaceKey, shard: str, folder: Path) -> None:
    """Fetch, authenticate, decrypt and unpack a shard into ``folder`` in tmpfs.

    Raises ``IntegrityError`` when it is missing or not what was put, ``Unavailable`` when it cannot be read.
    """
    archive = folder.with_suffix(".tar")
    open_to_file(
        blobs.get(blob_name(key.namespace, shard)),
        archive,
        key=key.file_key,
        key_version=key.version,
        purpose=Purpose.SHARD,
        where=(key.company, key.namespace, shard),
    )
    try:
        unpack(archive, folder)
    finally:
        archive.unlink()


def check_shard(blobs: LocalBlobs, key: NamespaceKey, shard: str) -> None:
    """Read and authenticate a stored shard, keeping nothing of it. Raises as :func:`fetch_shard` does."""
    authenticate(
        blobs.get(blob_name(key.namespace, shard)),
        key=key.file_key,
        key_version=key.version,
        purpose=Purpose.SHARD,
        where=(key.company, key.namespace, shard),
    )

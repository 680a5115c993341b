"""From a shard's id to an open shard, through the host's cache."""

from collections.abc import Collection

from core.crypto.keys import NamespaceKey
from core.shards.blobs import LocalBlobs
from core.shards.cache import ShardCache
from core.shards.reader import OpenShard
from core.shards.sealing import fetch_shard


def open_shard(
    cache: ShardCache,
    blobs: LocalBlobs,
    key: NamespaceKey,
    shard: str,
    fingerprint: str,
    in_use: Collection[str] = (),
) -> OpenShard:
    """Return a shard, decrypted into the cache if no process of this host has done so yet.

    Raises ``IntegrityError`` when the blob is missing, was changed, or belongs elsewhere.
    """
    folder = cache.open(shard, lambda target: fetch_shard(blobs, key, shard, target), in_use)
    return OpenShard(shard, folder, fingerprint)

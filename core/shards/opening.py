"""From a shard's id to an open shard, through the host's cache."""

from collections.abc import Collection

from core.crypto.keys import NamespaceKey
from core.errors import Unavailable
from core.shards.blobs import LocalBlobs
from core.shards.cache import ShardCache
from core.shards.reader import OpenShard
from core.shards.sealing import fetch_shard

_TRIES = 8  # each lost only if the shard is evicted between its opening and its mapping, a millisecond


def open_shard(
    cache: ShardCache,
    blobs: LocalBlobs,
    key: NamespaceKey,
    shard: str,
    fingerprint: str,
    in_use: Collection[str] = (),
) -> OpenShard:
    """Return a shard, decrypted into the cache if no process of this host has done so yet.

    Raises ``IntegrityError`` when the blob is missing, was changed, or belongs elsewhere, ``Unavailable`` when the
    cache has no room.
    """
    for _ in range(_TRIES):
        folder = cache.open(shard, lambda target: fetch_shard(blobs, key, shard, target), in_use)
        try:
            return OpenShard(shard, folder, fingerprint)
        except FileNotFoundError:  # another process evicted it before we had mapped it
            continue
    raise Unavailable("shards are evicted as fast as they are opened; raise [cache] bytes_max", code="cache_full")

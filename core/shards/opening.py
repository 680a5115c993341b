"""From a shard's id to an open shard, through the host's cache."""

import shutil
from collections.abc import Callable, Collection
from pathlib import Path

from core.errors import IntegrityError, OstrakaError, Unavailable
from core.shards.blobs import Blobs
from core.shards.cache import ShardCache
from core.shards.reader import OpenShard
from core.shards.sealing import ShardKeys, fetch_shard

_TRIES = 8  # each lost only if the shard is evicted between its opening and its mapping, a millisecond

Substitute = Callable[[Path, OstrakaError], None]


def open_shard(
    cache: ShardCache,
    blobs: Blobs,
    keys: ShardKeys,
    shard: str,
    fingerprint: str,
    in_use: Collection[str] = (),
    substitute: Substitute | None = None,
) -> OpenShard:
    """Return a shard, decrypted into the cache if no process of this host has done so yet.

    ``substitute(folder, error)`` writes the shard's files where the blob cannot be used, because of ``error``; it
    raises what it likes. Without it, raises ``IntegrityError`` when the blob is missing, was changed, or belongs
    elsewhere, ``Unavailable`` when it cannot be read; always ``Unavailable`` when the cache has no room.
    """

    def fill(folder: Path) -> None:
        try:
            fetch_shard(blobs, keys, shard, folder)
            OpenShard(shard, folder, fingerprint)  # what no reader can use is as good as missing
        except (IntegrityError, Unavailable) as error:  # of the blob: a full cache is an OSError in here
            if substitute is None:
                raise
            shutil.rmtree(folder)
            folder.mkdir()
            substitute(folder, error)

    for _ in range(_TRIES):
        folder = cache.open(shard, fill, in_use)
        try:
            return OpenShard(shard, folder, fingerprint)
        except FileNotFoundError:  # another process evicted it before we had mapped it
            continue
    raise Unavailable("shards are evicted as fast as they are opened; raise [cache] bytes_max", code="cache_full")

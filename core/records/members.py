"""Which rows a shard holds, as the record store remembers it: ascending ids, as compressed differences.

Ids are handed out one after another, so that a shard of a hundred thousand takes about a kilobyte.
"""

import zlib
from collections.abc import Collection, Iterable, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
from sqlalchemy import Connection, select

from core.records.tables import shards

_STORED: Final = np.dtype("<i8")


def pack_ids(ids: Sequence[int]) -> bytes:
    """Return ascending row ids as bytes."""
    return zlib.compress(np.diff(np.asarray(ids, _STORED), prepend=0).astype(_STORED).tobytes(), level=1)


def unpack_ids(packed: bytes) -> npt.NDArray[np.int64]:
    """Return the ids, int64[n] ascending."""
    return np.cumsum(np.frombuffer(zlib.decompress(packed), _STORED), dtype=np.int64)


def shard_members(connection: Connection, shard_id: int) -> npt.NDArray[np.int64]:
    """Return the ids of the rows that a shard was built with, int64[n] ascending."""
    packed: bytes = connection.execute(select(shards.c.members).where(shards.c.id == shard_id)).scalar_one()
    return unpack_ids(packed)


def members_of(connection: Connection, shard_ids: Iterable[int]) -> list[int]:
    """Return the ids of all rows that shards were built with, ascending."""
    return sorted(row for shard in shard_ids for row in shard_members(connection, shard).tolist())


def members_among(connection: Connection, shard_ids: Iterable[int], rows: Collection[int]) -> dict[int, set[int]]:
    """Return, for each shard, which of ``rows`` it was built with."""
    if not rows:
        return {}
    wanted = np.array(list(rows), np.int64)
    return {shard: set(np.intersect1d(wanted, shard_members(connection, shard)).tolist()) for shard in shard_ids}

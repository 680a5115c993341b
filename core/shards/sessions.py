"""Which memory came before and after which, within a session, across shards.

A shard keeps, sorted by (session, row), the rows that have a session. A session is a 64-bit key taken from the
HMAC of its name. Positions within a session are those of acceptance: ids ascend.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Keys = npt.NDArray[np.uint64]
Ids = npt.NDArray[np.int64]
NO_SESSION = 0
NONE = -1  # no such neighbour


@dataclass(frozen=True)
class SessionIndex:
    """One shard's sessions: ``keys`` uint64[m] ascending, ``ids`` int64[m] ascending within equal keys."""

    keys: Keys
    ids: Ids


def index_sessions(row_keys: Keys, ids: Ids) -> SessionIndex:
    """Return the index of a shard, given each row's session key (``NO_SESSION`` for none) and id."""
    order = np.lexsort((ids, row_keys))
    order = order[row_keys[order] != NO_SESSION]
    return SessionIndex(row_keys[order], ids[order])


def neighbours(shards: Sequence[SessionIndex], keys: Keys, ids: Ids) -> tuple[Ids, Ids]:
    """Return each memory's previous and next memory in its session, int64[n] each, ``NONE`` where there is none.

    ``keys`` uint64[n] and ``ids`` int64[n] name the memories; the neighbours may lie in any of the shards.
    """
    before = np.full(len(ids), NONE, np.int64)
    after = np.full(len(ids), np.iinfo(np.int64).max, np.int64)
    for shard in shards:
        start = np.searchsorted(shard.keys, keys, side="left")
        stop = np.searchsorted(shard.keys, keys, side="right")
        left = _first_at_least(shard.ids, ids, start, stop)
        right = _first_at_least(shard.ids, ids + 1, start, stop)
        has_left = left > start
        before[has_left] = np.maximum(before[has_left], shard.ids[left[has_left] - 1])
        has_right = right < stop
        after[has_right] = np.minimum(after[has_right], shard.ids[right[has_right]])
    lonely = keys == NO_SESSION
    before[lonely] = NONE
    after[lonely | (after == np.iinfo(np.int64).max)] = NONE
    return before, after


def _first_at_least(
    values: Ids, targets: Ids, start: npt.NDArray[np.intp], stop: npt.NDArray[np.intp]
) -> npt.NDArray[np.intp]:
    """Binary search for each target within its own slice of ``values``, all targets at once."""
    low, high = start.copy(), stop.copy()
    while (open_ := low < high).any():
        middle = (low + high) // 2
        below = open_ & (values[np.minimum(middle, len(values) - 1)] < targets)
        low = np.where(below, middle + 1, low)
        high = np.where(open_ & ~below, middle, high)
    return low

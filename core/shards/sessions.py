"""Which memory came before and after which, within a session, across shards.

A shard keeps its rows that have a session in the order of (session, row). A session is a 64-bit key taken from the
HMAC of its name. Positions within a session are those of acceptance: ids ascend with the rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

Keys = npt.NDArray[np.uint64]
Ids = npt.NDArray[np.int64]
Rows = npt.NDArray[np.int64]
Order = npt.NDArray[np.uint32]
NO_SESSION = 0
NONE = -1  # no such neighbour


def order_sessions(row_keys: Keys) -> Order:
    """Return the rows that have a session, uint32[m], ordered by session key and then by row."""
    order = np.argsort(row_keys, kind="stable")
    kept: Order = order[row_keys[order] != NO_SESSION].astype(np.uint32)
    return kept


@dataclass(frozen=True)
class SessionIndex:
    """One shard's sessions: each row's key uint64[n] and id int64[n], and the order of :func:`order_sessions`."""

    row_keys: Keys
    ids: Ids
    order: Order

    @cached_property
    def keys(self) -> Keys:
        """The key of each place in the order, uint64[m] ascending."""
        return self.row_keys[self.order]

    @cached_property
    def ordered_ids(self) -> Ids:
        """The id of each place in the order, int64[m], ascending within a session."""
        return self.ids[self.order]

    @cached_property
    def places(self) -> Rows:
        """The place of each row in the order, int64[n], ``NONE`` for a row without a session."""
        places = np.full(len(self.row_keys), NONE, np.int64)
        places[self.order] = np.arange(len(self.order))
        return places

    def around(self, keys: Keys, ids: Ids, rows: Rows) -> tuple[Rows, Rows]:
        """Return the places before and after each memory in its session in this shard, ``NONE`` where there is none.

        ``rows`` int64[k] are the memories' rows here, ``NONE`` for those that other shards hold.
        """
        before, after = np.full(len(ids), NONE, np.int64), np.full(len(ids), NONE, np.int64)
        if not len(self.order):
            return before, after
        start = np.searchsorted(self.keys, keys)
        last = len(self.order) - 1
        known = (start <= last) & (self.keys[np.minimum(start, last)] == keys)
        here = np.flatnonzero(known & (rows != NONE))
        place = self.places[rows[here]]
        before[here], after[here] = place - 1, place + 1
        # A session spans shards where one ends and the next begins; then its other members are looked for by id.
        elsewhere = np.flatnonzero(known & (rows == NONE))
        if elsewhere.size:
            stop = np.searchsorted(self.keys, keys[elsewhere], side="right")
            after[elsewhere] = _first_at_least(self.ordered_ids, ids[elsewhere], start[elsewhere], stop)
            before[elsewhere] = after[elsewhere] - 1
        for places in (before, after):
            inside = (places >= 0) & (places <= last)
            places[~inside | (self.keys[np.clip(places, 0, last)] != keys)] = NONE
        return before, after


def neighbours(
    shards: Sequence[SessionIndex],
    keys: Keys,
    ids: Ids,
    rows: Sequence[Rows],
    seen: Sequence[npt.NDArray[np.bool_] | None],
) -> tuple[Ids, Ids]:
    """Return each memory's previous and next memory in its session, int64[k] each, ``NONE`` where there is none.

    ``keys`` uint64[k] and ``ids`` int64[k] name the memories, ``rows`` their places in each shard, int64[k] with
    ``NONE``; the neighbours may lie in any of the shards. One that ``seen`` (bool[n] for each shard, or none to see
    all) hides is ``NONE``: nothing is skipped to reach the one behind it.
    """
    nothing = np.iinfo(np.int64).max
    before, after = np.full(len(ids), NONE, np.int64), np.full(len(ids), nothing, np.int64)
    hidden_before, hidden_after = np.zeros(len(ids), np.bool_), np.zeros(len(ids), np.bool_)
    for shard, places, mask in zip(shards, rows, seen, strict=True):
        left, right = shard.around(keys, ids, places)
        for found, best, hidden, closer in (
            (left, before, hidden_before, np.greater),
            (right, after, hidden_after, np.less),
        ):
            there = np.flatnonzero(found != NONE)
            candidates = shard.ordered_ids[found[there]]
            better = closer(candidates, best[there])
            chosen = there[better]
            best[chosen] = candidates[better]
            hidden[chosen] = False if mask is None else ~mask[shard.order[found[chosen]]]
    lonely = keys == NO_SESSION
    before[lonely | hidden_before] = NONE
    after[lonely | hidden_after | (after == nothing)] = NONE
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

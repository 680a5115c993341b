import numpy as np

from core.shards.sessions import NONE, SessionIndex, neighbours, order_sessions


def index(*rows: tuple[int, int]) -> SessionIndex:
    keys = np.array([key for key, _ in rows], np.uint64)
    return SessionIndex(keys, np.array([id_ for _, id_ in rows], np.int64), order_sessions(keys))


def around(
    shards: list[SessionIndex], *wanted: tuple[int, int], seen: list[np.ndarray | None] | None = None
) -> list[tuple[int, int]]:
    keys, ids = np.array([key for key, _ in wanted], np.uint64), np.array([id_ for _, id_ in wanted], np.int64)
    rows = [
        np.array([shard.ids.tolist().index(id_) if id_ in shard.ids else NONE for id_ in ids], np.int64)
        for shard in shards
    ]
    before, after = neighbours(shards, keys, ids, rows, seen or [None] * len(shards))
    return list(zip(before.tolist(), after.tolist(), strict=True))


def test_the_order_leaves_out_rows_without_a_session():
    made = index((5, 1), (0, 2), (3, 3), (5, 4))
    assert made.order.tolist() == [2, 0, 3]
    assert made.keys.tolist() == [3, 5, 5]
    assert made.ordered_ids.tolist() == [3, 1, 4]


def test_a_neighbour_that_may_not_be_seen_is_not_skipped():
    shards = [index((5, 1), (5, 2)), index((5, 3))]
    hidden = [np.array([True, False]), None]
    assert around(shards, (5, 1), (5, 3), seen=hidden) == [(NONE, NONE), (NONE, NONE)]


def test_neighbours_within_one_shard():
    assert around([index((5, 1), (5, 4), (5, 9))], (5, 1), (5, 4), (5, 9)) == [(NONE, 4), (1, 9), (4, NONE)]


def test_neighbours_lie_in_any_shard():
    shards = [index((5, 1), (5, 20)), index((5, 7)), index((6, 8))]
    assert around(shards, (5, 7), (5, 20), (6, 8)) == [(1, 20), (7, NONE), (NONE, NONE)]


def test_sessions_do_not_touch():
    assert around([index((5, 1), (6, 2), (5, 3))], (5, 1), (6, 2)) == [(NONE, 3), (NONE, NONE)]


def test_a_memory_without_a_session_has_no_neighbours():
    assert around([index((0, 1), (5, 2), (0, 3))], (0, 1), (0, 2)) == [(NONE, NONE), (NONE, NONE)]


def test_a_memory_that_is_in_no_shard_has_neighbours_all_the_same():
    assert around([index((5, 1), (5, 9))], (5, 4)) == [(1, 9)]


def test_nothing_asked_and_nothing_held():
    assert around([]) == []
    assert around([], (5, 1)) == [(NONE, NONE)]
    assert around([index()], (5, 1)) == [(NONE, NONE)]


def test_keys_use_all_64_bits():
    top = 2**64 - 1
    assert around([index((top, 1), (top, 2), (1, 3))], (top, 1), (1, 3)) == [(NONE, 2), (NONE, NONE)]

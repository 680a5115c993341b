"""A memory's neighbours are those that a list of its session, in order of acceptance, would give."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from core.shards.sessions import NO_SESSION, NONE, SessionIndex, neighbours, order_sessions

keys = st.sampled_from([NO_SESSION, 1, 2, 2**63, 2**64 - 1])
rows = st.dictionaries(st.integers(0, 40) | st.integers(2**62, 2**62 + 3), keys, max_size=30)


def index(ids: list[int], sessions: dict[int, int]) -> SessionIndex:
    row_keys = np.array([sessions[id_] for id_ in ids], np.uint64)
    return SessionIndex(row_keys, np.array(ids, np.int64), order_sessions(row_keys))


def rows_in(shard: SessionIndex, ids: list[int]) -> np.ndarray:
    places = {id_: row for row, id_ in enumerate(shard.ids.tolist())}
    return np.array([places.get(id_, NONE) for id_ in ids], np.int64)


@given(rows, st.data())
def test_neighbours_are_those_of_the_whole_session(sessions, data):
    shard_of = {id_: data.draw(st.integers(0, 3)) for id_ in sessions}
    shards = []
    for shard in range(4):
        ids = [id_ for id_ in sorted(sessions) if shard_of[id_] == shard]
        shards.append(index(ids, sessions))
    known = st.sampled_from(sorted(sessions)).map(lambda id_: (sessions[id_], id_)) if sessions else st.nothing()
    unknown = st.tuples(keys, st.integers(0, 40).filter(lambda id_: id_ not in sessions))
    asked = data.draw(st.lists(known | unknown))
    before, after = neighbours(
        shards,
        np.array([key for key, _ in asked], np.uint64),
        np.array([id_ for _, id_ in asked], np.int64),
        [rows_in(shard, [id_ for _, id_ in asked]) for shard in shards],
        [None] * len(shards),
    )
    for (key, id_), left, right in zip(asked, before.tolist(), after.tolist(), strict=True):
        session = [other for other, its in sessions.items() if its == key != NO_SESSION]
        assert left == max((other for other in session if other < id_), default=NONE)
        assert right == min((other for other in session if other > id_), default=NONE)


@given(rows)
def test_a_session_can_be_walked_from_end_to_end(sessions):
    ids = sorted(sessions)
    made = index(ids, sessions)
    for key in set(sessions.values()) - {NO_SESSION}:
        members = [id_ for id_ in ids if sessions[id_] == key]
        walked, here = [], members[0]
        while here != NONE:
            walked.append(here)
            asked = (np.array([key], np.uint64), np.array([here], np.int64))
            here = int(neighbours([made], *asked, [rows_in(made, [here])], [None])[1][0])
        assert walked == members

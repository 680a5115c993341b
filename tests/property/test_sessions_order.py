"""A memory's neighbours are those that a list of its session, in order of acceptance, would give."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from core.shards.sessions import NO_SESSION, NONE, index_sessions, neighbours

keys = st.sampled_from([NO_SESSION, 1, 2, 2**63, 2**64 - 1])
rows = st.dictionaries(st.integers(0, 40) | st.integers(2**62, 2**62 + 3), keys, max_size=30)


@given(rows, st.data())
def test_neighbours_are_those_of_the_whole_session(sessions, data):
    shard_of = {id_: data.draw(st.integers(0, 3)) for id_ in sessions}
    shards = []
    for shard in range(4):
        ids = [id_ for id_ in sorted(sessions) if shard_of[id_] == shard]
        shards.append(index_sessions(np.array([sessions[id_] for id_ in ids], np.uint64), np.array(ids, np.int64)))
    asked = data.draw(st.lists(st.tuples(keys, st.sampled_from(sorted(sessions) or [0]) | st.integers(0, 40))))
    before, after = neighbours(
        shards, np.array([key for key, _ in asked], np.uint64), np.array([id_ for _, id_ in asked], np.int64)
    )
    for (key, id_), left, right in zip(asked, before.tolist(), after.tolist(), strict=True):
        session = [other for other, its in sessions.items() if its == key != NO_SESSION]
        assert left == max((other for other in session if other < id_), default=NONE)
        assert right == min((other for other in session if other > id_), default=NONE)


@given(rows)
def test_a_session_can_be_walked_from_end_to_end(sessions):
    ids = sorted(sessions)
    made = index_sessions(np.array([sessions[id_] for id_ in ids], np.uint64), np.array(ids, np.int64))
    for key in set(sessions.values()) - {NO_SESSION}:
        members = [id_ for id_ in ids if sessions[id_] == key]
        walked, here = [], members[0]
        while here != NONE:
            walked.append(here)
            here = int(neighbours([made], np.array([key], np.uint64), np.array([here], np.int64))[1][0])
        assert walked == members

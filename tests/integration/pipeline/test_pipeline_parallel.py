"""Workers beside each other in one namespace: shards of one backlog, the tail, compactions, deletions."""

import pytest

from core.records.tables import Lane
from tests.integration.pipeline.shares import alive, leased, note, stored
from tests.stores import BOTH

RECORD_STORES = BOTH


@pytest.mark.usefixtures("small_tiers")
def test_workers_build_shards_of_one_backlog_at_a_time(open_server, during_build):
    """While one builds the first rows of a backlog, another builds the next, and an interactive row passes both."""
    slow, fast = open_server(), open_server()
    slow.write(*(note(number) for number in range(72)), lane=Lane.BULK)
    slow.embed()
    seen = []

    def meanwhile() -> None:
        fast.write(note(100))
        fast.embed()
        fast.index()
        seen.extend(shard.rows for shard in fast.shards())
        assert fast.ids("Note 100", mode="text", limit=1) == ["n100"]

    during_build(meanwhile)
    slow.index()

    assert sorted(seen) == [1, 8, 32]  # what was not in the other worker's hands
    assert sorted(shard.rows for shard in slow.shards()) == [1, 8, 32, 32]
    assert slow.states()["indexed"] == 73
    slow.check()
    assert stored(slow) >= alive(slow)
    assert leased(slow) == 0


@pytest.mark.usefixtures("small_tiers")
def test_a_shard_whose_rows_another_worker_took_over_is_dropped(open_server, during_build):
    slow, fast = open_server(), open_server()
    slow.write(*(note(number) for number in range(40)), lane=Lane.BULK)
    slow.embed()

    def overtake() -> None:
        slow.clock.advance(61)
        fast.index()
        assert fast.states()["indexed"] > 0

    during_build(overtake)
    slow.index()
    while slow.states()["embedded"]:
        slow.index()

    assert slow.states()["indexed"] == 40
    slow.check()
    assert leased(slow) == 0


@pytest.mark.usefixtures("small_tiers")
def test_a_row_deleted_while_a_worker_builds_it_stays_masked_until_that_is_over(open_server, during_build):
    """Maintenance must not take a row for gone that a shard under way still holds."""
    slow, fast = open_server(), open_server()
    slow.write(*(note(number) for number in range(32)), lane=Lane.BULK)
    slow.embed()

    def delete() -> None:
        fast.delete("n3")
        fast.maintain()

    during_build(delete)
    slow.index()

    assert "n3" not in fast.ids("harbour", mode="text", limit=100)
    slow.check()  # the shard holds it, masked
    slow.clock.advance(3_600)
    slow.maintain()
    assert slow.row_ids("n3")[0] not in slow.held()
    slow.check()


@pytest.mark.usefixtures("small_tiers")
def test_a_flush_that_meets_the_commit_of_a_compaction_keeps_what_it_built(open_server, during_build):
    server, other = open_server(), open_server()
    for start in (0, 8, 16):
        server.write(*(note(number) for number in range(start, start + 8)))
        server.settle()
    server.write(note(24))
    server.embed()
    built = []

    def compact() -> None:
        other.maintain()
        built.extend(stored(other) - alive(other))

    during_build(compact)
    server.index()

    assert sorted(shard.rows for shard in server.shards()) == [1, 24]
    assert len(alive(server) & set(built)) == 1  # the tail that was stored before the compaction committed
    server.check()

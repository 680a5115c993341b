"""Commits of shards: who lost a lease or a shard to replace comes too late, all or nothing."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import update

from core.errors import StaleGeneration
from core.records.deletion import delete_memory
from core.records.leases import Held, take_lease
from core.records.reading import count_shards, get_job
from core.records.shardlist import Absorbed, commit_compaction, commit_flush, fetch_rows
from core.records.tables import Lane, State, namespaces
from core.records.waiting import embedded_ids, waiting_namespaces

NOTHING = Absorbed()


def compact(desk, namespace, replaced, *, absorbed=NOTHING, tier=1) -> None:
    with desk.records.database.write() as connection, desk.records.changing(connection, namespace.id):
        commit_compaction(
            connection,
            namespace.id,
            added=desk.new_shard(sum(shard.rows for shard in replaced), tier),
            replaced=replaced,
            absorbed=absorbed,
            now=desk.clock(),
        )


def flush(desk, namespace, replaced=(), held=(), indexed=()) -> None:
    """Commit a shard, of nothing that waits unless rows are named."""
    with desk.records.database.write() as connection, desk.records.changing(connection, namespace.id):
        commit_flush(
            connection,
            namespace.id,
            held=held,
            added=desk.new_shard(),
            replaced=list(replaced),
            indexed=indexed,
            absorbed=NOTHING,
            now=desk.clock(),
        )


def take(desk) -> Held:
    with desk.records.database.write() as connection:
        token = take_lease(connection, "flush-1", now=desk.clock(), lease_us=60_000_000)
    assert token is not None
    return Held("flush-1", token, 0)


@pytest.fixture
def notes(desk):
    return desk.namespace()


def test_a_flush_makes_its_shard_live_and_its_rows_indexed(desk, notes):
    job = desk.write("a", "b").job_id
    rows = desk.embed()

    assert desk.flush(notes) == rows

    [shard] = desk.shards(notes)
    assert (shard.rows, shard.tier, desk.generation(notes)) == (2, 0, 1)
    assert {row.state for row in desk.rows(notes)} == {State.INDEXED}
    assert get_job(desk.records, job).state == "indexed"
    with desk.records.database.read() as connection:
        assert count_shards(connection, notes.id) == (1, 1_000)


def test_a_flush_replaces_the_tail(desk, notes):
    desk.write("a")
    desk.embed()
    desk.flush(notes)
    [tail] = desk.shards(notes)
    desk.write("b")
    desk.embed()

    desk.flush(notes, replaced=[tail])

    [new] = desk.shards(notes)
    assert new.id > tail.id
    assert desk.generation(notes) == 2


def test_a_flush_that_lost_its_lease_changes_nothing(desk, notes):
    desk.write("a")
    rows = desk.embed()
    slow = take(desk)
    desk.clock.advance(61)
    taken_over = take(desk)

    with pytest.raises(StaleGeneration):
        desk.flush(notes, held=[slow])

    assert desk.shards(notes) == []
    assert desk.generation(notes) == 0
    assert [desk.row(row).state for row in rows] == [State.EMBEDDED]
    assert desk.flush(notes, held=[taken_over]) == rows


def test_every_lease_of_a_flush_must_be_held(desk, notes):
    with pytest.raises(StaleGeneration):
        flush(desk, notes, held=[take(desk), Held("flush-1-shard-1-9", "lost", 0)])
    assert desk.shards(notes) == []


def test_a_lease_that_ran_out_and_nobody_wanted_still_counts(desk, notes):
    slow = take(desk)
    desk.clock.advance(3_600)

    flush(desk, notes, held=[slow])

    assert len(desk.shards(notes)) == 1


def test_rows_that_another_shard_has_got_into_are_refused(desk, notes):
    """As by a worker of an older release, which knows of no ranges."""
    desk.write("a", "b")
    rows = desk.embed()
    desk.flush(notes)
    before = desk.shards(notes)

    with pytest.raises(StaleGeneration):
        flush(desk, notes, indexed=rows)

    assert desk.shards(notes) == before


def test_a_flush_whose_tail_was_replaced_changes_nothing(desk, notes):
    flush(desk, notes)
    [tail] = desk.shards(notes)
    flush(desk, notes, replaced=[tail])
    before = desk.shards(notes)

    with pytest.raises(StaleGeneration):
        flush(desk, notes, replaced=[tail])

    assert desk.shards(notes) == before
    assert desk.generation(notes) == 2


def test_a_compaction_commits_although_flushes_went_on(desk, notes):
    for _ in range(3):
        flush(desk, notes)
    replaced = desk.shards(notes)[:2]
    flush(desk, notes)

    compact(desk, notes, replaced)

    live = {shard.id for shard in desk.shards(notes)}
    assert len(live) == 3
    assert live.isdisjoint(shard.id for shard in replaced)
    assert desk.generation(notes) == 5


def test_a_flush_commits_although_a_compaction_went_on(desk, notes):
    """Its tail is still live: there is no reason to build it anew."""
    flush(desk, notes)
    flush(desk, notes)
    tail, other = desk.shards(notes)
    held = take(desk)
    compact(desk, notes, [other])

    flush(desk, notes, replaced=[tail], held=[held])

    assert desk.generation(notes) == 4
    assert len(desk.shards(notes)) == 2


def test_a_compaction_of_a_shard_that_is_gone_changes_nothing(desk, notes):
    flush(desk, notes)
    flush(desk, notes)
    replaced = desk.shards(notes)
    compact(desk, notes, replaced[:1])
    before, generation = desk.shards(notes), desk.generation(notes)

    with pytest.raises(StaleGeneration):
        compact(desk, notes, replaced)

    assert (desk.shards(notes), desk.generation(notes)) == (before, generation)


def test_a_shard_sealed_with_a_key_that_was_rotated_away_comes_too_late(desk, notes):
    with desk.records.database.write() as connection:
        connection.execute(update(namespaces).where(namespaces.c.id == notes.id).values(key_version=2))
        with pytest.raises(StaleGeneration):
            commit_compaction(
                connection, notes.id, added=desk.new_shard(), replaced=[], absorbed=NOTHING, now=desk.clock()
            )


def test_a_deleted_namespace_takes_no_shards(desk, notes):
    flush(desk, notes)
    shards = desk.shards(notes)
    desk.records.delete_namespace("notes")

    with pytest.raises(StaleGeneration):
        flush(desk, notes)
    with pytest.raises(StaleGeneration):
        compact(desk, notes, shards)

    assert desk.shards(notes) == []


def test_of_many_flushes_that_took_each_others_lease_one_wins(desk, open_desk):
    namespace = desk.namespace()
    contenders = []
    for each in (desk, open_desk(), open_desk(), open_desk()):
        contenders.append((each, take(each)))
        desk.clock.advance(61)
    start = threading.Barrier(len(contenders))

    def race(contender) -> bool:
        each, held = contender
        start.wait()
        try:
            flush(each, namespace, held=[held])
        except StaleGeneration:
            return False
        return True

    with ThreadPoolExecutor(len(contenders)) as pool:
        assert list(pool.map(race, contenders)) == [False, False, False, True]
    assert len(desk.shards(namespace)) == 1


def test_a_row_deleted_while_its_shard_was_built_stays_deleted_and_masked(desk, notes):
    job = desk.write({"id": "gone", "content": "a"}).job_id
    [row] = desk.embed()
    delete_memory(desk.records, notes, "gone")

    with desk.records.database.write() as connection:
        commit_flush(
            connection,
            notes.id,
            held=[],
            added=desk.new_shard(),
            replaced=[],
            indexed=[row],
            absorbed=NOTHING,
            now=desk.clock(),
        )

    assert (desk.row(row).state, desk.row(row).overlay, desk.row(row).sealed) == (State.DELETED, True, None)
    assert get_job(desk.records, job).deleted == 1


def test_a_closed_row_stays_masked_until_its_successor_is_indexed(desk, notes):
    desk.write({"id": "x", "content": "1"})
    [old] = desk.embed()
    desk.flush(notes)
    desk.write({"id": "x", "content": "2"})

    compact(desk, notes, desk.shards(notes), absorbed=Absorbed(closed=[old]))
    assert desk.row(old).overlay

    desk.embed()
    desk.flush(notes, absorbed=Absorbed(closed=[old]))
    assert not desk.row(old).overlay


def test_a_closed_row_deleted_after_the_build_stays_masked(desk, notes):
    """The new shard holds it as closed: only a shard built without it may lift the mask."""
    desk.write({"id": "x", "content": "1"})
    [old] = desk.embed()
    desk.flush(notes)
    desk.write({"id": "x", "content": "2"})
    desk.embed()
    delete_memory(desk.records, notes, "x")

    desk.flush(notes, absorbed=Absorbed(closed=[old]))
    assert desk.row(old).overlay

    compact(desk, notes, desk.shards(notes), absorbed=Absorbed(deleted=[old]))
    assert not desk.row(old).overlay


def test_what_waits_is_counted_by_lane(desk, notes):
    desk.write("a", "b", lane=Lane.BULK)
    desk.write("c")
    other = desk.namespace("other")
    desk.write("d", namespace="other")
    desk.embed()
    token, [first, _] = desk.claim(lane=Lane.BULK)
    desk.store(token, [first])

    with desk.records.database.read() as connection:
        mine, others = waiting_namespaces(connection, desk.clock())
        bulk = embedded_ids(connection, notes.id, Lane.BULK, 10)
        interactive = embedded_ids(connection, notes.id, Lane.INTERACTIVE, 10)
        fetched = fetch_rows(connection, notes.id, [row.id for row in desk.rows(other)])

    assert (mine.interactive, mine.bulk, mine.bulk_coming) == (1, 1, True)
    assert (others.namespace_id, others.interactive, others.bulk) == (other.id, 1, 0)
    assert bulk == [first]
    assert len(interactive) == 1
    assert list(fetched) == []  # ids of another namespace open nothing here

"""A delete is final at its commit; expiry is a delete that the clock asks for."""

import pytest
from sqlalchemy import select, update

from core.errors import NotFound
from core.records.deletion import delete_memory, erase, expire, with_versions
from core.records.overlay import masked_rows, purge_overdue
from core.records.reading import get_history, get_job, get_memory, list_memories
from core.records.tables import Lane, State, memories


def test_content_and_vectors_go_with_the_delete(desk):
    desk.write({"id": "x", "content": "secret", "session": "s"})
    [row] = desk.embed()
    desk.flush(desk.namespace())

    delete_memory(desk.records, desk.namespace(), "x")

    gone = desk.row(row)
    assert (gone.state, gone.sealed, gone.sealed_vectors, gone.session) == (State.DELETED, None, None, None)
    assert (gone.overlay, gone.deleted_at) == (True, desk.clock())
    for read in (get_memory, get_history):
        with pytest.raises(NotFound):
            read(desk.records, desk.namespace(), "x")
    with pytest.raises(NotFound):
        delete_memory(desk.records, desk.namespace(), "x")


def test_readers_see_all_of_a_delete_or_nothing(desk):
    desk.write({"id": "x", "content": "secret"})
    [row] = desk.embed()
    columns = select(
        memories.c.state, memories.c.sealed.is_(None), memories.c.sealed_vectors.is_(None), memories.c.overlay
    )

    def seen():
        with desk.records.database.read() as connection:
            return tuple(connection.execute(columns.where(memories.c.id == row)).one())

    with desk.records.database.write() as connection:
        erase(connection, desk.namespace().id, [row], desk.clock())
        assert seen() == (State.EMBEDDED, False, False, False)
    assert seen() == (State.DELETED, True, True, True)


def test_a_delete_that_is_rolled_back_deleted_nothing(desk):
    desk.write({"id": "x", "content": "kept"})
    [row] = desk.embed()

    def erase_and_stumble() -> None:
        with desk.records.database.write() as connection:
            erase(connection, desk.namespace().id, [row], desk.clock())
            raise RuntimeError

    with pytest.raises(RuntimeError):
        erase_and_stumble()

    assert get_memory(desk.records, desk.namespace(), "x").content == "kept"


def test_a_delete_takes_every_version_and_nothing_else(desk):
    desk.write({"id": "x", "content": "1"}, {"id": "x", "content": "2"}, {"id": "y", "content": "stays"})
    desk.write({"id": "x", "content": "another's"}, namespace="other")

    delete_memory(desk.records, desk.namespace(), "x")

    states = [row.state for row in desk.rows(desk.namespace())]
    assert states == [State.DELETED, State.DELETED, State.PENDING]
    assert get_memory(desk.records, desk.namespace("other"), "x").content == "another's"


def test_an_id_can_be_used_again_after_its_delete(desk):
    desk.write({"id": "x", "content": "before"})
    delete_memory(desk.records, desk.namespace(), "x")
    desk.write({"id": "x", "content": "after"})

    [only] = get_history(desk.records, desk.namespace(), "x")
    assert (only.content, only.version) == ("after", 1)


def test_versions_are_those_of_the_same_memory_accepted_before(desk):
    desk.write({"id": "x", "content": "1"}, {"id": "x", "content": "2"}, {"id": "y", "content": "stays"})
    first, second, other = desk.rows(desk.namespace())
    desk.write({"id": "x", "content": "3"})
    desk.write("foreign", namespace="other")
    [foreign] = desk.rows(desk.namespace("other"))

    with desk.records.database.read() as connection:
        found = with_versions(connection, desk.namespace().id, [second.id, foreign.id], other.id + 1)

    assert found == [first.id, second.id]


def test_a_worker_cannot_store_what_was_deleted_meanwhile(desk):
    job = desk.write({"id": "x", "content": "1"}).job_id
    token, [row] = desk.claim()
    delete_memory(desk.records, desk.namespace(), "x")

    assert desk.store(token, [row]) == 0
    assert desk.row(row).sealed_vectors is None
    assert get_job(desk.records, job).finished_at is not None


def test_deletes_are_announced_to_readers(desk):
    namespace = desk.namespace()
    desk.write({"id": "x", "content": "1"}, {"id": "y", "content": "2"})
    first, second = desk.embed()
    delete_memory(desk.records, namespace, "x")
    desk.write({"id": "y", "content": "3"})

    with desk.records.database.read() as connection:
        masked = masked_rows(connection, namespace.id)
    assert (masked[first].deleted, masked[first].forward) == (True, False)
    assert (masked[second].deleted, masked[second].closed_at, masked[second].forward) == (False, desk.clock(), True)


@pytest.mark.parametrize("purge_s", [3_600, 100])
def test_shards_are_rewritten_when_half_of_the_time_promised_is_over(desk, purge_s):
    desk.records.purge_us = purge_s * 1_000_000
    desk.write({"id": "x", "content": "1"}, {"id": "y", "content": "its time runs out", "ttl_seconds": 1})

    def overdue() -> bool:
        with desk.records.database.read() as connection:
            return purge_overdue(connection, desk.namespace().id, desk.clock(), desk.records.purge_us)

    delete_memory(desk.records, desk.namespace(), "x")
    assert not overdue()
    desk.clock.advance(purge_s / 2)
    assert overdue()

    with desk.records.database.write() as connection:
        connection.execute(update(memories).values(overlay=False))
    assert expire(desk.records, 10) == 1
    assert not overdue()
    desk.clock.advance(purge_s / 2)
    assert overdue()


def test_a_deadline_that_was_promised_is_kept_when_the_setting_changes(desk):
    desk.records.purge_us = 100_000_000
    desk.write({"id": "x", "content": "1"})
    delete_memory(desk.records, desk.namespace(), "x")
    desk.clock.advance(50)

    with desk.records.database.read() as connection:
        assert purge_overdue(connection, desk.namespace().id, desk.clock(), 3_600_000_000)


def test_a_memory_expires_when_its_time_comes_swept_or_not(desk):
    job = desk.write({"id": "x", "content": "short", "ttl_seconds": 60}, {"id": "y", "content": "long"}).job_id
    desk.clock.advance(59)
    assert get_memory(desk.records, desk.namespace(), "x").content == "short"
    assert expire(desk.records, 10) == 0

    desk.clock.advance(1)

    with pytest.raises(NotFound):
        get_memory(desk.records, desk.namespace(), "x")
    assert [memory.id for memory in list_memories(desk.records, desk.namespace(), after=0, limit=9).memories] == ["y"]
    assert expire(desk.records, 10) == 1
    assert expire(desk.records, 10) == 0
    swept, kept = desk.rows(desk.namespace())
    assert (swept.state, swept.sealed, kept.state) == (State.DELETED, None, State.PENDING)
    assert get_job(desk.records, job).deleted == 1


def test_expiry_is_bounded_and_spans_namespaces(desk):
    for name in ("a", "b"):
        desk.write(*({"content": str(number), "ttl_seconds": 1} for number in range(5)), namespace=name, lane=Lane.BULK)
    desk.clock.advance(2)

    assert [expire(desk.records, 4) for _ in range(4)] == [4, 4, 2, 0]

"""The reconciler's rounds: one process at a time, one step's trouble not the next one's, and what it says."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from structlog.testing import capture_logs

from core.backup.snapshot import LEASE_PREFIX
from core.errors import Unavailable
from core.pipeline import compacting, maintenance
from core.pipeline.doorbell import EMBED, EMBED_BULK, INDEX, MAINTAIN
from core.pipeline.maintenance import READER_GRACE_S
from core.pipeline.unclaimed import forgotten_work
from core.records.counters import MAINTAINED_AT, read_counter
from core.records.leases import hold_lease, take_lease
from core.records.tables import Lane, leases, memories, shards
from core.shards.sealing import blob_name
from tests.stores import BOTH

RECORD_STORES = BOTH

LEASE_S = 60
QUEUES = (EMBED, EMBED_BULK, INDEX)


def held_leases(server) -> list[str]:
    with server.records.database.read() as connection:
        return list(connection.execute(leases.select()).scalars())


def maintained_at(server) -> int:
    with server.records.database.read() as connection:
        return read_counter(connection, MAINTAINED_AT)


def forgotten(server) -> list[str]:
    return [queue for queue in QUEUES if forgotten_work(server.records, queue)]


@pytest.mark.parametrize(("lane", "queue"), [(Lane.INTERACTIVE, EMBED), (Lane.BULK, EMBED_BULK)])
def test_each_queue_is_asked_for_its_own_work(server, lane, queue):
    assert forgotten(server) == []
    server.write("A note.", lane=lane)
    assert forgotten(server) == [queue]
    server.embed()
    assert forgotten(server) == [INDEX]
    server.index()
    assert forgotten(server) == []
    assert forgotten_work(server.records, MAINTAIN)


def test_a_round_says_when_it_was_and_what_it_did(server):
    server.write({"content": "Gone soon.", "ttl_seconds": 1}, "Stays.")
    server.settle()
    server.clock.advance(2)

    with capture_logs() as logs:
        server.maintain()
        server.maintain()

    [said] = [entry for entry in logs if entry["event"] == "maintained"]
    assert (said["company"], said["expired"]) == (server.company, 1)
    assert maintained_at(server) == server.clock.now
    assert held_leases(server) == []
    server.clock.advance(10)
    server.maintain()
    assert maintained_at(server) == server.clock.now


def test_a_round_is_left_to_who_is_at_it(server, open_server):
    second = open_server()
    server.write({"content": "Gone soon.", "ttl_seconds": 1})
    server.clock.advance(2)
    with hold_lease(server.records.database, "maintain", server.clock, LEASE_S) as held:
        assert held is not None
        second.maintain()
        assert maintained_at(second) == 0
        assert second.states()["deleted"] == 0

    second.maintain()
    assert second.states()["deleted"] == 1


def test_a_round_that_died_is_followed_after_its_lease(server):
    with server.records.database.write() as connection:
        assert take_lease(connection, "maintain", now=server.clock(), lease_us=LEASE_S * 1_000_000)
    server.maintain()
    assert maintained_at(server) == 0

    server.clock.advance(LEASE_S)
    server.maintain()
    assert maintained_at(server) == server.clock.now


@pytest.mark.parametrize("error", [Unavailable("the disk fails"), ZeroDivisionError()])
def test_a_step_that_fails_does_not_stop_the_next(server, monkeypatch, error):
    def fail(*_):
        raise error

    server.write(*(f"note {number}" for number in range(4)))
    server.settle()
    server.write("another")
    server.settle()  # the tail before it is garbage now
    server.clock.advance(READER_GRACE_S)
    monkeypatch.setattr(maintenance, "expire_memories", fail)

    with capture_logs() as logs:
        server.maintain()

    [said] = [entry for entry in logs if entry["event"] == "maintenance_failed"]
    assert said["step"] == "expired"
    assert said.get("code", said.get("error")) in {"unavailable", "ZeroDivisionError"}
    assert len(list(server.blobs.names())) == 1
    assert maintained_at(server) == server.clock.now


def test_a_blob_that_cannot_be_removed_does_not_keep_the_others(server):
    for text in ("one", "two", "three"):
        server.write(text)
        server.settle()
    stuck, other, live = (server.records.folder / "shards" / name for name in in_order(server))
    stuck.unlink()
    stuck.mkdir()

    server.clock.advance(READER_GRACE_S)
    server.maintain()
    assert (stuck.exists(), other.exists(), live.exists()) == (True, False, True)
    stuck.rmdir()
    server.maintain()
    assert len(in_order(server)) == 1


def in_order(server) -> list[str]:
    """The blobs of listed shards, oldest first."""
    with server.records.database.read() as connection:
        listed = connection.execute(shards.select().order_by(shards.c.id)).all()
    return [blob_name(server.namespace().public_id, row.public_id) for row in listed]


def test_no_blob_is_removed_while_a_backup_copies_them(server):
    server.write("one")
    server.settle()
    server.write("two")
    server.settle()
    server.clock.advance(READER_GRACE_S)
    with hold_lease(server.records.database, f"{LEASE_PREFIX}1", server.clock, LEASE_S) as held:
        assert held is not None
        server.maintain()
        assert len(list(server.blobs.names())) == 2

    server.maintain()
    assert len(list(server.blobs.names())) == 1


def test_a_mark_is_kept_when_a_flush_comes_between_the_look_and_its_clearing(server, during_build, monkeypatch):
    """The flush read the row before it was deleted: the shard that it makes live holds it."""
    built, go_on = threading.Event(), threading.Event()
    server.write({"id": "a", "content": "An amber note."}, {"id": "b", "content": "Another note."})
    server.embed()
    [row] = server.row_ids("a")
    real = compacting.plan_compaction

    def plan_after_the_flush(*given, **more):
        plan = real(*given, **more)
        go_on.set()
        flushing.result(timeout=60)
        return plan

    during_build(lambda: (built.set(), go_on.wait(60)))
    with ThreadPoolExecutor(1) as pool:
        flushing = pool.submit(server.index)
        assert built.wait(60)
        server.delete("a")  # no shard that is live holds it
        monkeypatch.setattr(compacting, "plan_compaction", plan_after_the_flush)
        server.tenant.index.compact()
    monkeypatch.setattr(compacting, "plan_compaction", real)

    assert row in server.held()
    with server.records.database.read() as connection:
        assert connection.execute(memories.select().where(memories.c.id == row)).one().overlay
    assert server.ids("amber note", mode="vector") == ["b"]
    server.clock.advance(7_200)
    server.maintain()
    assert row not in server.held()
    server.check()


def test_a_mark_of_a_row_that_no_shard_holds_is_cleared(server):
    server.write({"id": "a", "content": "Never indexed."}, {"id": "b", "content": "Indexed."})
    server.delete("a")
    server.settle()
    [row] = server.row_ids("a")

    server.maintain()

    with server.records.database.read() as connection:
        assert not connection.execute(memories.select().where(memories.c.id == row)).one().overlay

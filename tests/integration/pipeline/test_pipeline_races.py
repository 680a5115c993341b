"""Workers that overtake each other, and workers that die: each memory in exactly one live shard."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import func, select

from core.records import shardlist
from core.search.request import SearchRequest
from tests.integration.pipeline.shares import alive, leased, note, stored
from tests.stores import BOTH

RECORD_STORES = BOTH


class Died(BaseException):
    """The process ended here: no handler of errors sees it."""


@pytest.mark.usefixtures("small_tiers")
def test_processes_that_race_to_index_share_the_work(open_server):
    servers = [open_server() for _ in range(3)]
    first = servers[0]
    first.namespace()
    start = threading.Barrier(len(servers))

    def work(server, place) -> None:
        start.wait()
        for turn in range(6):
            server.write(*(note(100 * turn + 10 * place + k) for k in range(5)))
            server.settle()
            server.maintain()
            server.search("harbour")

    with ThreadPoolExecutor(len(servers)) as pool:
        list(pool.map(work, servers, range(len(servers))))
    first.clock.advance(3_600)
    for server in servers:
        server.settle()
        server.maintain()

    assert first.states() == {"pending": 0, "embedded": 0, "indexed": 90, "failed": 0, "deleted": 0}
    for server in servers:
        server.check()
        assert len(server.ids("harbour", mode="text", limit=100)) == 90
    assert leased(first) == 0


def test_readers_see_a_consistent_index_while_writers_race(open_server):
    server, reader = open_server(), open_server()
    server.write(*(note(number) for number in range(5)))
    server.settle()
    done = threading.Event()
    request = SearchRequest("Note about the harbour", 100, "text")
    counts: list[int] = []

    def read() -> None:
        while not done.is_set():
            hits = reader.tenant.query.search(reader.namespace(), request).hits
            ids = [hit.memory.id for hit in hits]
            assert len(ids) == len(set(ids))
            counts.append(len(ids))

    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read)
        try:
            for number in range(5, 20):
                server.write(note(number), note(number - 5, metadata={"again": True}))
                server.settle()
        finally:
            done.set()
        reading.result()

    assert counts == sorted(counts)  # nothing that was there is ever missing
    assert len(reader.ids("Note about the harbour", mode="text", limit=100)) == 20


def test_a_flush_that_was_overtaken_is_built_anew(open_server, during_build):
    """While one worker builds a tail, its lease runs out and another commits the next generation."""
    slow, fast = open_server(), open_server()
    slow.write(*(note(number) for number in range(4)))
    slow.embed()

    def overtake() -> None:
        slow.clock.advance(61)
        fast.index()
        assert fast.states()["indexed"] == 4

    during_build(overtake)
    slow.index()

    assert slow.states()["indexed"] == 4
    assert len(slow.shards()) == 1
    slow.check()
    assert stored(slow) == alive(slow)  # the loser's blob went with its claim to be live
    assert leased(slow) == 0


@pytest.mark.usefixtures("small_tiers")
def test_a_compaction_and_a_flush_pass_each_other(server, during_build):
    for start in (0, 8, 16):
        server.write(*(note(number) for number in range(start, start + 8)))
        server.settle()

    def flush() -> None:
        server.write(note(24), note(3, metadata={"new": True}))
        server.settle()

    during_build(flush)
    server.maintain()

    assert sorted(shard.rows for shard in server.shards()) == [2, 24]
    assert server.states()["indexed"] == 26
    [hit] = server.search("Note 3", mode="text", limit=1)
    assert hit.memory.metadata == {"new": True}
    server.check()


def test_a_purge_of_the_tail_and_a_flush_of_it(server, during_build):
    """Both replace the same shard: whoever commits second must start again."""
    server.write(*(note(number) for number in range(6)))
    server.settle()
    for number in (1, 2, 3):
        server.delete(f"n{number}")

    def flush() -> None:
        server.write(note(9))
        server.settle()

    during_build(flush)
    server.maintain()
    server.maintain()

    assert sorted(server.ids("harbour", mode="text")) == ["n0", "n4", "n5", "n9"]
    server.check()


def test_a_namespace_deleted_while_its_shard_is_built(server, during_build):
    server.write(note(1))
    server.embed()
    during_build(lambda: server.records.delete_namespace("notes"))

    server.index()

    with server.records.database.read() as connection:
        assert connection.execute(select(func.count()).select_from(shardlist.shards)).scalar_one() == 0
    assert leased(server) == 0


def die() -> None:
    raise Died


def test_a_crash_between_put_and_commit_leaves_an_orphan_and_a_retry_that_works(server, restart, during_build):
    server.write(note(1))
    server.settle()
    before = alive(server)
    accepted = server.write(note(2), note(1, metadata={"again": True}))
    server.embed()
    during_build(die)
    with pytest.raises(Died):
        server.index()

    assert alive(server) == before
    assert server.job(accepted).state == "indexing"
    assert len(stored(server) - alive(server)) == 1
    assert server.ids("Note 1", mode="text") == ["n1"]

    server = restart(server)
    server.settle()
    assert server.job(accepted).state == "indexed"
    assert sorted(server.ids("harbour", mode="text")) == ["n1", "n2"]
    server.check()


def test_a_crash_in_a_compaction_loses_nothing(server, restart, during_build):
    server.write(*(note(number) for number in range(6)))
    server.settle()
    for number in (1, 2, 3):
        server.delete(f"n{number}")
    during_build(die)
    with pytest.raises(Died):
        server.maintain()

    server = restart(server)
    assert sorted(server.ids("harbour", mode="text")) == ["n0", "n4", "n5"]
    server.maintain()
    assert sorted(server.held()) == sorted(server.row_ids("n0") + server.row_ids("n4") + server.row_ids("n5"))
    server.check()


def test_a_killed_index_worker_holds_nobody_up_for_longer_than_its_lease(server):
    """A kill leaves the lease behind, unlike an exception, which gives it back."""
    from core.records.leases import take_lease

    server.write(note(1))
    server.embed()
    with server.records.database.write() as connection:
        take_lease(connection, f"flush-{server.namespace().id}", now=server.clock(), lease_us=60_000_000)

    server.index()
    assert server.states()["indexed"] == 0
    server.clock.advance(60)
    server.index()
    assert server.states()["indexed"] == 1

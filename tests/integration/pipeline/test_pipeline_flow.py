"""From a write to an answer, and how shards come about on the way."""

import pytest

from core.pipeline.doorbell import EMBED, EMBED_BULK, INDEX, MAINTAIN
from core.pipeline.plans import BULK_WAIT_S
from core.records.tables import Lane
from tests.stores import BOTH, IN_FILES

RECORD_STORES = BOTH

FACTS = [
    "The billing service runs in the Frankfurt data centre.",
    "Mara prefers answers in bullet points.",
    "The staging database is wiped every Sunday night.",
    "Deploys need two approvals since the March incident.",
]


def test_a_write_becomes_an_answer(server):
    accepted = server.write(*FACTS)
    assert server.job(accepted).state == "pending"
    assert server.search("billing") == []

    server.embed()
    assert server.job(accepted).state == "indexing"
    server.index()

    assert server.job(accepted).state == "indexed"
    for mode in ("hybrid", "vector", "text"):
        best, *_ = server.search("where does the billing service run", mode=mode)
        assert best.memory.content == FACTS[0]
        assert best.memory.id == accepted.ids[0]
        assert (best.similarity is None) == (mode == "text")
    assert server.contents("when do we lose our test data?", mode="vector")[0] == FACTS[2]
    server.check()


def test_the_same_query_finds_the_same_vector(server):
    server.write(*FACTS)
    server.settle()

    [best, *_] = server.search(FACTS[1], mode="vector")
    assert best.memory.content == FACTS[1]
    assert best.similarity == pytest.approx(1.0, abs=1e-5)


def test_each_stage_rings_for_the_next(server):
    server.write("interactive")
    server.write("bulk", lane=Lane.BULK)
    server.settle()
    server.runtime.doorbell.close()

    assert {queue for queue, _ in server.rings} == {EMBED, EMBED_BULK, INDEX}
    assert {company for _, company in server.rings} == {server.company}


def test_work_whose_ring_was_lost_is_found(server):
    accepted = server.write(*FACTS)

    for queue in (EMBED, EMBED_BULK, INDEX, MAINTAIN):
        server.runtime.catch_up(queue, server.company)

    assert server.job(accepted).state == "indexed"


def test_doubled_rings_change_nothing(server):
    server.write(*FACTS)
    for _ in range(3):
        server.settle()
        server.maintain()

    assert server.states()["indexed"] == len(FACTS)
    assert len(server.shards()) == 1
    server.check()


def test_each_flush_rewrites_the_one_tail(server):
    for number, fact in enumerate(FACTS, start=1):
        server.write(fact)
        server.settle()
        [tail] = server.shards()
        assert (tail.tier, tail.rows) == (0, number)
        server.check()
    assert len(server.contents("what do we know", mode="vector")) == len(FACTS)


@pytest.mark.usefixtures("small_tiers")
def test_a_full_tail_becomes_a_sealed_shard(server):
    server.write(*(f"note number {number}" for number in range(7)))
    server.settle()
    server.write("note number 7")
    server.settle()
    [sealed] = server.shards()
    assert (sealed.tier, sealed.rows) == (1, 8)

    server.write("note number 8")
    server.settle()

    kept, tail = server.shards()
    assert (kept.public_id, tail.tier, tail.rows) == (sealed.public_id, 0, 1)
    assert len(server.ids("note number", mode="text")) == 9
    server.check()


@pytest.mark.usefixtures("small_tiers")
def test_a_backlog_is_built_into_shards_of_its_own(server):
    server.write("the tail stays as it is")
    server.settle()
    [tail] = server.shards()
    accepted = server.write(*(f"archived ticket {number}" for number in range(75)), lane=Lane.BULK)

    server.settle()

    shards = server.shards()
    assert shards[0].public_id == tail.public_id
    assert [shard.rows for shard in shards[1:]] == [32, 32, 11]
    assert server.job(accepted).indexed == 75
    assert len(server.ids("archived ticket", mode="text", limit=100)) == 75
    server.check()


def test_a_small_backlog_joins_the_tail(server):
    server.write("interactive")
    server.write("bulk one", "bulk two", lane=Lane.BULK)

    server.settle()

    [tail] = server.shards()
    assert (tail.tier, tail.rows) == (0, 3)


def test_bulk_rows_wait_for_company_but_not_for_long(server):
    server.write("embedded first", lane=Lane.BULK)
    server.embed()
    server.write("still to be embedded", lane=Lane.BULK)
    server.index()
    assert server.shards() == []

    server.clock.advance(BULK_WAIT_S)
    server.index()

    assert [shard.rows for shard in server.shards()] == [1]


def test_an_empty_namespace_answers_nothing(server):
    server.namespace("empty")

    for mode in ("hybrid", "vector", "text"):
        assert server.search("anything", namespace="empty", mode=mode) == []


@IN_FILES
def test_fifty_namespaces_do_not_mix(server, restart):
    names = [f"agent-{number}" for number in range(50)]
    for number, name in enumerate(names):
        server.write(
            {"id": "colour", "content": f"My favourite colour has the code shade-{number}."},
            {"id": "home", "content": f"I live at station-{number}."},
            namespace=name,
            lane=Lane.BULK if number % 2 else Lane.INTERACTIVE,
        )
    server.settle()
    server.delete("home", namespace=names[7])

    for again in range(2):
        for number, name in enumerate(names):
            hits = server.contents("favourite colour and home", namespace=name)
            assert len(hits) == (1 if number == 7 else 2)
            assert hits[0] == f"My favourite colour has the code shade-{number}."
            foreign = server.ids(f"shade-{(number + 1) % 50}", namespace=name, mode="text")
            assert foreign == []
        if not again:
            server = restart(server)


def test_a_restart_keeps_everything(server, restart):
    accepted = server.write(*FACTS)
    waiting = server.write("not embedded yet")
    server.runtime.embed(server.company, Lane.BULK)
    server = restart(server)
    assert server.job(waiting).state == "pending"
    server.settle()
    server = restart(server)

    assert server.job(accepted).state == server.job(waiting).state == "indexed"
    assert server.contents("billing service")[0] == FACTS[0]
    server.check()


def test_nothing_stays_in_the_cache_after_the_last_process(open_server):
    one, other = open_server(), open_server()
    one.write(*FACTS)
    one.settle()
    assert one.contents("billing")[0] == other.contents("billing")[0] == FACTS[0]
    root = one.runtime.cache.root

    one.close()
    assert other.contents("billing")[0] == FACTS[0]
    other.close()

    assert not root.exists()


def test_nothing_written_rests_in_the_clear(server):
    server.write({"content": "plainmark content", "tags": ["plainmarktag"], "session": "plainmarksession"})
    server.settle()

    for path in server.runtime.control.root.rglob("*"):
        if path.is_file():
            assert b"plainmark" not in path.read_bytes(), path.name

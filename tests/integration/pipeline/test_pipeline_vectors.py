"""Memories that bring their vectors: embedded from the start, in the transaction that accepts them."""

import pytest

from core import limits
from core.pipeline.doorbell import EMBED, EMBED_BULK, INDEX
from core.records.tables import Lane, State
from tests.integration.processes import eventually
from tests.stores import LONG_ON_POSTGRES

RECORD_STORES = LONG_ON_POSTGRES


@pytest.fixture
def brought(server):
    """Return a memory with the vector that this server's model gives another text."""

    def make(content: str, like: str, **fields):
        [vector] = server.runtime.embedder.embed_passages([like])[0]
        space = server.tenant.space
        return {"content": content, "embedding": {"fingerprint": space.fingerprint, "vector": vector.tolist()}} | fields

    return make


def test_a_vector_that_was_brought_is_searched_and_nothing_is_embedded(server, brought):
    accepted = server.write(
        brought("Paragraph 4 of the annex.", like="How whales sleep"), brought("Annex.", like="Taxes"), lane=Lane.BULK
    )
    assert server.states()[State.EMBEDDED] == 2
    job = server.job(accepted)
    assert (job.state, job.accepted, job.embedded, job.indexed) == ("indexing", 2, 2, 0)
    assert eventually(lambda: {queue for queue, _ in server.rings}) == {INDEX}
    server.clock.advance(10)
    server.index()
    job = server.job(accepted)
    assert (job.state, job.indexed, job.finished_at is not None) == ("indexed", 2, True)
    [hit] = server.search("sleeping whales", mode="vector", limit=1)
    assert (hit.memory.content, hit.similarity > 0.6) == ("Paragraph 4 of the annex.", True)


def test_one_request_may_hold_both_kinds(server, brought):
    accepted = server.write(brought("with", like="with"), "without", lane=Lane.BULK)
    assert eventually(lambda: len({queue for queue, _ in server.rings}) == 2)
    assert {queue for queue, _ in server.rings} == {INDEX, EMBED_BULK}
    server.clock.advance(10)
    server.settle()
    assert server.job(accepted).indexed == 2
    assert set(server.contents("with")) == {"with", "without"}


def test_a_single_memory_may_bring_its_vector_and_replace_one(server, brought):
    server.write(brought("first", like="first", id="m"))
    server.write(brought("second", like="second", id="m"))
    server.index()
    assert server.contents("first second") == ["second"]
    assert eventually(lambda: {queue for queue, _ in server.rings}) == {INDEX}
    server.write("third")
    assert eventually(lambda: EMBED in {queue for queue, _ in server.rings})


def test_what_was_brought_waits_for_the_rest_of_its_backfill(server, brought):
    few = [brought(f"note {number}", like="note") for number in range(5)]
    for _ in range(3):
        server.write(*few, lane=Lane.BULK)
        server.index()
        server.clock.advance(1)
    assert server.shards() == []  # each would have rewritten the tail
    server.clock.advance(2)
    server.index()
    assert [shard.rows for shard in server.shards()] == [15]


def test_a_large_load_becomes_shards_of_its_own_at_once(server, brought):
    one = brought("note", like="note")
    for _ in range(3):
        server.write(*[one] * 3_000, lane=Lane.BULK)
    server.index()
    assert [shard.rows for shard in server.shards()] == [limits.BULK_SHARD_ROWS]
    server.clock.advance(10)
    server.index()
    assert [shard.rows for shard in server.shards()] == [limits.BULK_SHARD_ROWS, 9_000 - limits.BULK_SHARD_ROWS]


def test_a_rebuilt_shard_keeps_vectors_that_were_brought(server, brought):
    server.write(brought("The annex.", like="How whales sleep"))
    server.index()
    server.write(brought("Another.", like="Taxes"))
    server.index()
    [hit] = server.search("sleeping whales", mode="vector", limit=1)
    assert hit.memory.content == "The annex."

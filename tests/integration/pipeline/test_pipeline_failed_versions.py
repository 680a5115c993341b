"""Versions that failed: what searches answer meanwhile, after a retry, and after they were discarded."""

import pytest

from core.embedding.runtime import Embedder
from core.errors import NotFound
from core.records.failures import discard_failed, find_failed
from core.records.reading import get_history, get_memory
from core.records.retries import retry_rows
from core.records.tables import State
from tests.stores import BOTH

RECORD_STORES = BOTH

MODES = ("hybrid", "vector", "text")
OLD = "Nadia works at the harbour office in Trieste."
NEW = "Nadia moved to the observatory in Hilo."


@pytest.fixture
def refuse(monkeypatch):
    """Make the model refuse texts that hold a word, until told otherwise."""
    embed = Embedder.embed_passages
    words: set[str] = set()

    def embed_or_refuse(embedder, texts, **how):
        if any(word in text for word in words for text in texts):
            raise ValueError
        return embed(embedder, texts, **how)

    monkeypatch.setattr(Embedder, "embed_passages", embed_or_refuse)
    return words


def settle_until_failed(server) -> None:
    for _ in range(server.runtime.settings.queue.attempts_max):
        server.settle()
        server.clock.advance(300)


def failed(server) -> list[int]:
    return find_failed(server.records, server.namespace())


def answers(server, query: str, **more) -> list[str]:
    """Return what the memory says in each mode that finds it."""
    return [hit.memory.content for mode in MODES for hit in server.search(query, mode=mode, **more)]


@pytest.fixture
def half_moved(server, refuse):
    """A memory whose update the model refuses."""
    server.write({"id": "nadia", "content": OLD})
    server.settle()
    server.before = server.clock()
    server.clock.advance(10)
    refuse.add("Hilo")
    server.write({"id": "nadia", "content": NEW})
    settle_until_failed(server)
    assert get_memory(server.records, server.namespace(), "nadia").state == "failed"
    return server


def test_an_update_that_failed_answers_through_the_old_hit_and_never_with_the_old_words(half_moved, restart):
    before, server = half_moved.before, half_moved
    for again in range(2):
        assert answers(server, "harbour office in Trieste") == [NEW] * 3
        assert server.search("observatory Hilo", mode="text") == []  # its own words are not indexed
        if not again:
            server = restart(server)
    server.clock.advance(7_200)
    server.settle()
    server.maintain()
    assert answers(server, "harbour office in Trieste") == [NEW] * 3
    assert answers(server, "harbour office in Trieste", as_of=before) == [OLD] * 3


def test_an_update_that_is_retried_answers_under_its_own_words(half_moved, refuse):
    refuse.clear()
    assert retry_rows(half_moved.records, failed(half_moved)) == 1
    half_moved.settle()

    assert answers(half_moved, "observatory in Hilo") == [NEW] * 3
    assert half_moved.search("harbour Trieste", mode="text") == []
    half_moved.check()


def test_an_update_that_is_discarded_takes_the_memory_along(half_moved):
    assert discard_failed(half_moved.records, half_moved.namespace(), failed(half_moved)).rows == 1

    assert answers(half_moved, "harbour office in Trieste") == []
    assert answers(half_moved, "harbour office in Trieste", as_of=half_moved.before) == []
    with pytest.raises(NotFound):
        get_memory(half_moved.records, half_moved.namespace(), "nadia")
    half_moved.settle()
    half_moved.clock.advance(7_200)
    half_moved.maintain()
    assert answers(half_moved, "harbour office in Trieste") == []
    assert half_moved.held() == []


def test_a_replaced_version_that_is_retried_stays_in_the_past(half_moved, refuse):
    """The update failed, and a later one was indexed before it is tried again."""
    server = half_moved
    between = server.clock()
    server.clock.advance(10)
    server.write({"id": "nadia", "content": "Nadia retired to Lima."})
    server.settle()
    assert answers(server, "Nadia") == ["Nadia retired to Lima."] * 3

    refuse.clear()
    assert retry_rows(server.records, failed(server)) == 1
    for _ in range(2):
        server.settle()
        assert answers(server, "Nadia in the observatory in Hilo") == ["Nadia retired to Lima."] * 3
        assert server.search("observatory", mode="text") == []
        server.clock.advance(7_200)
        server.maintain()
    assert answers(server, "observatory in Hilo", as_of=between)[0] == NEW
    versions = get_history(server.records, server.namespace(), "nadia")
    assert [(version.content[:9], version.state) for version in versions] == [
        ("Nadia wor", State.INDEXED),
        ("Nadia mov", State.INDEXED),
        ("Nadia ret", State.INDEXED),
    ]
    server.check()


def test_a_discarded_version_in_the_middle_still_passes_hits_on(half_moved):
    """The first version's hits lead past the discarded one to the last, which is not searchable yet."""
    server = half_moved
    server.write({"id": "nadia", "content": "Nadia retired to Lima."})
    discard_failed(server.records, server.namespace(), failed(server))

    assert answers(server, "harbour office in Trieste") == ["Nadia retired to Lima."] * 3
    server.settle()
    assert answers(server, "retired to Lima") == ["Nadia retired to Lima."] * 3
    assert server.search("harbour Trieste", mode="text") == []


def test_a_first_version_that_failed_is_read_but_not_found(server, refuse):
    refuse.add("Hilo")
    accepted = server.write({"id": "nadia", "content": NEW})
    settle_until_failed(server)

    memory = get_memory(server.records, server.namespace(), "nadia")
    assert (memory.content, memory.state, memory.error) == (NEW, "failed", "embedding_failed")
    assert answers(server, "observatory Hilo") == []
    assert server.job(accepted).state == "failed"

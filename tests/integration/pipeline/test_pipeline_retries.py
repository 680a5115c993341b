"""What is tried again, how often, and what it ends as: nothing is pending for ever, nor fails for another's fault."""

import threading

import pytest
from pending import ATTEMPTS, BACKOFF_S, LEASE_S, die_with, note, outcome, rows

from core.embedding.runtime import Embedder
from core.errors import Unavailable
from core.pipeline import embedding
from core.records.tables import State
from tests.stores import LONG_ON_POSTGRES

RECORD_STORES = LONG_ON_POSTGRES

POISON = "Note 5 about"


@pytest.fixture
def choke(monkeypatch):
    """Make the model refuse some texts, and remember which batches it was given."""
    embed = Embedder.embed_passages
    given: list[list[str]] = []

    def install(refused, error: Exception) -> list[list[str]]:
        def embed_or_choke(embedder, texts, **how):
            given.append(list(texts))
            if any(refused(text) for text in texts):
                raise error
            return embed(embedder, texts, **how)

        monkeypatch.setattr(Embedder, "embed_passages", embed_or_choke)
        return given

    yield install
    monkeypatch.setattr(Embedder, "embed_passages", embed)


def test_a_killed_worker_gives_its_rows_back_after_the_lease(server):
    accepted = server.write(note(1), note(2))
    die_with(server, 9)

    server.settle()
    assert server.job(accepted).state == "pending"
    server.clock.advance(LEASE_S)
    server.runtime.catch_up("embed", server.company)
    server.index()
    assert server.job(accepted).state == "indexed"


def test_a_text_that_the_model_refuses_fails_alone_after_the_last_attempt(server, choke):
    given = choke(lambda text: POISON in text, ValueError("cannot read this"))
    accepted = server.write(*(note(number) for number in range(8)))

    for attempt in range(1, ATTEMPTS + 1):
        server.settle()
        assert (rows(server)[5].attempts, rows(server)[5].lease) == (attempt, None)
        server.settle()  # nothing before its time
        assert rows(server)[5].attempts == attempt
        server.clock.advance(BACKOFF_S)

    assert outcome(server, accepted) == ("failed", 7, [("embedding_failed", 1)])
    assert len(given) == 1 + 8 + 2 * (ATTEMPTS - 1)  # its mates are embedded once, one by one
    assert len(server.ids("harbour", mode="text")) == 7
    server.check()


def test_the_wait_between_attempts_grows(server, choke):
    choke(lambda _: True, ValueError())
    server.write(note(0))
    bounds = []
    for _ in range(ATTEMPTS - 1):
        server.embed()
        until = rows(server)[0].lease_until
        bounds.append((until - server.clock()) / 1e6)
        server.clock.now = until
    assert all(0 <= wait <= 5 * 2**attempt for attempt, wait in enumerate(bounds))


@pytest.mark.parametrize("texts", [1, 8])
def test_a_model_that_is_out_of_order_for_a_while_fails_nobody(server, choke, monkeypatch, texts):
    broken = threading.Event()
    broken.set()
    choke(lambda _: broken.is_set(), RuntimeError("no memory left"))
    accepted = server.write(*(note(number) for number in range(texts)))
    for _ in range(ATTEMPTS - 1):
        server.embed()
        server.clock.advance(BACKOFF_S)

    broken.clear()
    server.settle()
    assert outcome(server, accepted) == ("indexed", texts, [])


@pytest.mark.parametrize("error", [RuntimeError("broken"), MemoryError()])
def test_a_model_that_stays_out_of_order_ends_every_job_as_failed(small_batches, choke, error):
    server = small_batches
    choke(lambda _: True, error)
    accepted = server.write(*(note(number) for number in range(20)))
    for _ in range(ATTEMPTS):
        server.settle()
        server.clock.advance(BACKOFF_S)

    assert outcome(server, accepted) == ("failed", 0, [("embedding_failed", 20)])
    assert server.job(accepted).finished_at is not None


def test_a_worker_that_dies_each_time_ends_as_a_failed_memory(server):
    accepted = server.write(*(note(number) for number in range(8)))
    poison = rows(server)[0].id
    for _ in range(ATTEMPTS):
        assert poison in die_with(server, 8)
        server.settle()  # meanwhile another worker takes what is left
        server.clock.advance(LEASE_S)
    server.settle()

    assert outcome(server, accepted) == ("failed", 7, [("attempts_exhausted", 1)])
    assert rows(server)[0].attempts == ATTEMPTS
    server.check()


@pytest.mark.parametrize(
    "error", [Unavailable("locked", code="store_unavailable"), OSError(28, "No space left on device"), MemoryError()]
)
def test_a_fault_of_what_rows_stand_on_is_never_counted(server, monkeypatch, error):
    accepted = server.write(*(note(number) for number in range(8)))
    with monkeypatch.context() as broken:

        def fail(*_):
            raise error

        broken.setattr(embedding, "store_vectors", fail)
        for _ in range(2 * ATTEMPTS):
            with pytest.raises(type(error)):
                server.embed()
            assert {(row.attempts, row.lease) for row in rows(server).values()} == {(0, None)}
            server.embed()  # nothing before its time
            server.clock.advance(BACKOFF_S)

    server.settle()
    assert outcome(server, accepted) == ("indexed", 8, [])


def test_a_fault_of_our_own_that_one_row_brings_about_ends_with_that_row(small_batches, monkeypatch):
    """Not even in the model: it is found by ever smaller batches, and its mates are stored."""
    server = small_batches
    accepted = server.write(*(note(number) for number in range(16)))
    poison = rows(server)[5].id
    seal = embedding.seal_vectors

    def seal_or_fail(namespace, row, vectors):
        if row == poison:
            raise KeyError("a bug of ours")
        return seal(namespace, row, vectors)

    monkeypatch.setattr(embedding, "seal_vectors", seal_or_fail)
    for _ in range(30):
        try:
            server.settle()
        except KeyError:
            server.clock.advance(BACKOFF_S)

    assert outcome(server, accepted) == ("failed", 15, [("attempts_exhausted", 1)])
    assert rows(server)[5].state == State.FAILED


def test_a_claim_that_cannot_be_given_back_is_given_back_before_the_next(server, monkeypatch):
    """The disk is full: neither the vectors nor the release can be written. A lease later, no attempt is counted."""
    accepted = server.write(note(1), note(2))
    claim = embedding.claim_pending
    write = server.records.database.write

    def full(**_):
        raise Unavailable("the disk is full", code="store_unavailable")

    def claim_then_full(*arguments, **more):
        claimed = claim(*arguments, **more)
        monkeypatch.setattr(server.records.database, "write", full)
        return claimed

    monkeypatch.setattr(embedding, "claim_pending", claim_then_full)
    with pytest.raises(Unavailable):
        server.embed()
    monkeypatch.setattr(embedding, "claim_pending", claim)
    monkeypatch.setattr(server.records.database, "write", write)
    assert [row.attempts for row in rows(server).values()] == [1, 1]

    server.clock.advance(LEASE_S)
    server.runtime.stopping.set()  # gives back, claims nothing
    server.embed()
    server.runtime.stopping.clear()
    assert [(row.attempts, row.lease) for row in rows(server).values()] == [(0, None)] * 2
    server.clock.advance(BACKOFF_S)
    server.settle()
    assert outcome(server, accepted) == ("indexed", 2, [])

"""What a worker holds, and how it lets go: when it leaves, is stopped or frozen, and what its death would count."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from pending import ATTEMPTS, LEASE_S, claims, die_with, note, outcome, rows

from core.embedding.runtime import Embedder
from core.records.claims import claim_pending
from core.records.frozen import Freeze, Phase
from core.records.tables import Lane, State
from tests.stores import BOTH

RECORD_STORES = BOTH


class Left(BaseException):
    """The process is leaving, as SystemExit says."""


def test_a_leaving_process_gives_every_row_back_at_once(small_batches, monkeypatch):
    """Also those of the batch that it had claimed ahead."""
    server = small_batches
    accepted = server.write(*(note(number) for number in range(24)))
    with monkeypatch.context() as leaving:

        def leave(*_, **__):
            raise Left

        leaving.setattr(Embedder, "embed_passages", leave)
        with pytest.raises(Left):
            server.embed()

    assert {(row.attempts, row.lease, row.lease_until) for row in rows(server).values()} == {(0, None, None)}
    server.settle()
    assert server.job(accepted).state == "indexed"


def test_a_stop_hands_claims_back_before_the_batch_on_the_cores_ends(small_batches, open_server, monkeypatch):
    stopping, other = small_batches, open_server()
    accepted = stopping.write(*(note(number) for number in range(24)))
    embed = Embedder.embed_passages
    on_the_cores, may_end = threading.Event(), threading.Event()

    def embed_long(embedder, texts, **how):
        on_the_cores.set()
        may_end.wait(60)
        return embed(embedder, texts, **how)

    monkeypatch.setattr(Embedder, "embed_passages", embed_long)
    with ThreadPoolExecutor(1) as pool:
        draining = pool.submit(stopping.embed)
        on_the_cores.wait(60)
        stopping.runtime.stopping.set()
        while any(row.lease for row in rows(other).values()):
            assert not draining.done()
        monkeypatch.setattr(Embedder, "embed_passages", embed)
        other.settle()  # another worker takes them although the first has not ended
        may_end.set()
        draining.result(timeout=60)

    assert outcome(other, accepted) == ("indexed", 24, [])
    assert {row.attempts for row in rows(other).values()} == {1}
    other.check()


def test_a_freeze_lets_what_is_in_hand_be_stored_and_nothing_more_begin(small_batches, monkeypatch):
    server = small_batches
    accepted = server.write(*(note(number) for number in range(24)))
    embed = Embedder.embed_passages

    def freeze_and_embed(embedder, texts, **how):
        server.records.database.set_freeze(Freeze(Phase.DRAINING))
        return embed(embedder, texts, **how)

    monkeypatch.setattr(Embedder, "embed_passages", freeze_and_embed)
    server.embed()
    assert server.states()["embedded"] in {8, 16}  # the first batch, and perhaps the one claimed meanwhile
    assert claims(server) == 0
    assert {row.attempts for row in rows(server).values() if row.state == State.PENDING} == {0}

    monkeypatch.setattr(Embedder, "embed_passages", embed)
    server.records.database.set_freeze(Freeze())
    server.settle()
    assert outcome(server, accepted) == ("indexed", 24, [])


def test_at_most_one_batch_of_suspects_is_claimed_in_a_process(small_batches, monkeypatch):
    """A death counts against what is claimed: suspects of both lanes are tried one batch after the other."""
    server = small_batches
    for lane in Lane:
        server.write(*({"content": f"{lane} {number}"} for number in range(24)), lane=lane)
    for lane in Lane:
        with server.records.database.write() as connection:
            claim_pending(connection, lane, now=server.clock(), lease_us=1, limit=24, attempts_max=ATTEMPTS)
    server.clock.advance(1)
    embed = Embedder.embed_passages
    held: list[int] = []

    def embed_and_count(embedder, texts, **how):
        held.append(claims(server) - len(texts))
        return embed(embedder, texts, **how)

    monkeypatch.setattr(Embedder, "embed_passages", embed_and_count)
    with ThreadPoolExecutor(2) as pool:
        for draining in [pool.submit(server.runtime.embed, server.company, lane) for lane in Lane]:
            draining.result(timeout=60)
    server.index()

    assert held == [0] * 9  # six batches of four, and three of eight of the backfill, each alone
    assert server.states()["indexed"] == 48


def test_fresh_rows_are_claimed_ahead_and_suspects_are_not(small_batches, monkeypatch):
    server = small_batches
    server.write(*(note(number) for number in range(24)))
    die_with(server, 8)
    server.clock.advance(LEASE_S)
    embed = Embedder.embed_passages
    claimed: list[tuple[int, int]] = []

    def embed_and_count(embedder, texts, **how):
        claimed.append((len(texts), claims(server)))
        return embed(embedder, texts, **how)

    monkeypatch.setattr(Embedder, "embed_passages", embed_and_count)
    server.settle()

    assert claimed[:2] == [(4, 4), (4, 4)]  # suspects: nothing else is in hand
    assert [texts for texts, _ in claimed[2:]] == [8, 8]
    assert server.states()["indexed"] == 24

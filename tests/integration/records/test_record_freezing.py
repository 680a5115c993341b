"""Freezing a store: what is under way ends, nothing begins, and the files then hold everything."""

import threading
from collections.abc import Callable

import numpy as np
import pytest
from sqlalchemy import select

from core.errors import Frozen
from core.pipeline import freezing
from core.pipeline.freezing import FreezeState, freeze, freeze_state, unfreeze
from core.records.apikeys import create_key
from core.records.claims import store_vectors
from core.records.leases import drop_lease, take_lease
from core.records.reading import get_memory
from core.records.rows import seal_vectors
from core.records.tables import State, leases
from tests.integration.processes import eventually

SECOND = 1_000_000
VECTOR = np.array([[1.0, 0.0]], np.float32)


@pytest.fixture
def store(open_store):
    return open_store()


def hand_in(desk, token: str, rows: list[int]) -> int:
    """Store vectors as a worker does."""
    sealed = [(row, seal_vectors(desk.namespace(), row, VECTOR)) for row in rows]
    with desk.records.database.write(finishing=True) as connection:
        return store_vectors(connection, token, sealed, "tiny:int8:0")


class Freezing:
    """A freeze under way in another thread."""

    def __init__(self, freeze_now: Callable[[], object]) -> None:
        self.outcome: list[object] = []
        self.thread = threading.Thread(target=lambda: self.outcome.append(freeze_now()))
        self.thread.start()

    def result(self):
        self.thread.join(60)
        return self.outcome[0]


def test_a_frozen_store_refuses_every_kind_of_write(store, desk):
    desk.write({"id": "a", "content": "before"})
    outcome = freeze(store)
    assert outcome == freezing.FreezeOutcome(FreezeState("frozen", store.clock(), None), drained=True)
    company = store.companies()[0].id
    attempts = [
        lambda: desk.write("late"),
        lambda: desk.namespace("new"),
        desk.claim,
        lambda: desk.records.delete_namespace("notes"),
        lambda: store.create_company("late"),
        lambda: create_key(store, company, ["read"], ["*"], None),
    ]
    for attempt in attempts:
        with pytest.raises(Frozen):
            attempt()
    assert len(desk.rows(desk.namespace())) == 1


def test_ended_it_takes_writes_as_before(store, desk):
    freeze(store)
    unfreeze(store)
    assert freeze_state(store) == FreezeState("open")
    desk.write("after")
    store.create_company("after")
    unfreeze(store)  # ending none is no error


def test_it_waits_for_a_claim_and_takes_its_result(store, desk):
    desk.write("one", "two")
    token, rows = desk.claim(limit=1)
    freezing_now = Freezing(lambda: freeze(store))
    eventually(lambda: freeze_state(store).state == "draining")
    with pytest.raises(Frozen):
        desk.claim()
    assert hand_in(desk, token, rows) == 1
    assert freezing_now.result().drained
    assert [desk.row(row).state for row in rows] == [State.EMBEDDED]
    with pytest.raises(Frozen):
        hand_in(desk, token, rows)


def test_it_waits_for_a_named_lease(store, desk):
    database = desk.records.database
    with database.write() as connection:
        token = take_lease(connection, "flush-1", now=store.clock(), lease_us=60 * SECOND)
    freezing_now = Freezing(lambda: freeze(store))
    eventually(lambda: freeze_state(store).state == "draining")
    with database.write(finishing=True) as connection:
        drop_lease(connection, "flush-1", token)
    assert freezing_now.result().drained


def test_work_that_does_not_end_is_cut_off_and_done_again_later(store, desk, clock):
    desk.write("one")
    token, rows = desk.claim()
    assert not freeze(store, drain_s=0.1).drained
    with pytest.raises(Frozen):
        hand_in(desk, token, rows)
    unfreeze(store)
    clock.advance(61)  # the claim ran out
    assert desk.claim()[1] == rows


def test_leases_and_claims_that_ran_out_are_not_waited_for(store, desk, clock):
    desk.write("one")
    desk.claim()
    with desk.records.database.write() as connection:
        take_lease(connection, "flush-1", now=store.clock(), lease_us=SECOND)
    clock.advance(61)
    assert freeze(store, drain_s=0.1).drained


def test_past_its_time_limit_every_process_takes_writes_again(store, open_desk, desk, clock):
    freeze(store, limit_s=5)
    other = open_desk()
    clock.advance(4)
    for each in (desk, other):
        with pytest.raises(Frozen):
            each.write("late")
    clock.advance(1)
    assert freeze_state(store) == FreezeState("open")
    other.write("after")
    desk.write("after too")
    store.create_company("after")


def test_frozen_twice_it_stays_as_it_was(store, clock):
    first = freeze(store, limit_s=5)
    clock.advance(1)
    assert freeze(store, limit_s=3_600).state == first.state
    clock.advance(4)
    assert freeze_state(store).state == "open"


def test_a_freeze_that_died_while_it_waited_is_forgotten(store, desk, clock, monkeypatch):
    def die(*_):
        raise SystemExit

    monkeypatch.setattr(freezing, "_open", lambda *_: None)  # killed: nobody tidies up
    monkeypatch.setattr(freezing, "_drain", die)
    with pytest.raises(SystemExit):
        freeze(store)
    assert freeze_state(store).state == "draining"
    with pytest.raises(Frozen):
        desk.write("late")
    clock.advance(freezing.DRAIN_S + 121)
    assert freeze_state(store).state == "open"
    desk.write("after")


def test_a_freeze_that_fails_leaves_the_store_open(store, desk, monkeypatch):
    def fail(*_):
        raise OSError("a fault")

    monkeypatch.setattr(freezing, "_drain", fail)
    with pytest.raises(OSError, match="a fault"):
        freeze(store)
    desk.write("after")


def test_every_company_is_frozen(store, clock):
    other = store.records(store.create_company("other").id)
    freeze(store)
    with pytest.raises(Frozen), other.database.write():
        pass
    unfreeze(store)
    with other.database.write():
        pass


def test_nothing_of_it_is_left_in_the_tables(store, desk):
    freeze(store)
    unfreeze(store)
    with desk.records.database.read() as connection:
        assert connection.execute(select(leases)).all() == []


def test_searches_go_on_reading(store, desk):
    desk.write({"id": "a", "content": "before"})
    freeze(store)
    assert get_memory(desk.records, desk.namespace(), "a").content == "before"

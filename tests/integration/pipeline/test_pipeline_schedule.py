"""The schedule: rings for what waits, of every company, as often as one scheduler would, and does none of it."""

import pytest

from core.memory import NewMemory
from core.pipeline.doorbell import EMBED, EMBED_BULK, INDEX, MAINTAIN, QUEUES
from core.pipeline.freezing import freeze, unfreeze
from core.pipeline.schedule import Schedule
from core.records.lifecycle import change_terms
from core.records.tables import Lane
from core.records.writes import WriteRequest
from tests.integration.processes import eventually

PERIODS = {EMBED: 2.0, EMBED_BULK: 2.0, INDEX: 2.0, MAINTAIN: 10.0}


@pytest.fixture
def rings():
    return []


@pytest.fixture
def schedule(server, rings):
    return scheduler(server, rings)


def scheduler(server, rings):
    return Schedule(server.runtime.control, lambda queue, company: rings.append((queue, company)), PERIODS.__getitem__)


def look(schedule, server):
    """Look at every queue of every company, once."""
    for queue in QUEUES:
        for company in server.runtime.control.company_ids():
            schedule.catch_up(queue, company)


def test_it_rings_for_what_waits_and_for_nothing_else(server, schedule, rings):
    maintained = [(MAINTAIN, server.company)]
    look(schedule, server)
    assert rings == maintained
    server.write("a note")
    server.write("one of many", lane=Lane.BULK)
    server.clock.advance(10)
    rings.clear()
    look(schedule, server)
    assert rings == [(EMBED, server.company), (EMBED_BULK, server.company), *maintained]
    assert server.states()["pending"] == 2
    server.embed()
    server.clock.advance(10)
    rings.clear()
    look(schedule, server)
    assert rings == [(INDEX, server.company), *maintained]


def test_two_schedulers_ring_as_often_as_one(server, schedule, rings):
    other = scheduler(server, rings)
    server.write("a note")
    for _ in range(20):  # a second of looks, as two that started together would
        look(schedule, server)
        look(other, server)
        server.clock.advance(0.05)
    assert sorted(rings) == [(EMBED, server.company), (MAINTAIN, server.company)]
    server.clock.advance(1)
    look(other, server)
    assert rings.count((EMBED, server.company)) == 2


def test_it_rings_for_every_company_but_for_no_suspended_one_other_than_to_maintain(server, schedule, rings):
    acme = server.runtime.control.create_company("acme").id
    request = WriteRequest(
        server.runtime.control.records(acme).ensure_namespace("notes"), [NewMemory(content="theirs")], Lane.INTERACTIVE
    )
    server.runtime.tenant(acme).committer.submit(request).result(timeout=60)
    look(schedule, server)
    assert sorted(rings) == sorted([(EMBED, acme), (MAINTAIN, server.company), (MAINTAIN, acme)])
    server.write("a note")
    change_terms(server.runtime.control, acme, suspended=True)
    eventually(lambda: server.runtime.control.terms(acme).suspended)
    server.clock.advance(10)
    rings.clear()
    look(schedule, server)
    assert sorted(rings) == sorted([(EMBED, server.company), (MAINTAIN, server.company), (MAINTAIN, acme)])


def test_a_frozen_store_is_left_alone(server, schedule, rings):
    server.write("a note")
    freeze(server.runtime.control)
    look(schedule, server)
    assert rings == []
    unfreeze(server.runtime.control)
    look(schedule, server)
    assert rings == [(EMBED, server.company), (MAINTAIN, server.company)]

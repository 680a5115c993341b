"""The wall clock jumps by a day, forwards and back: leases and lifetimes behave, and nobody waits until it is right."""

import signal

import pytest

from tests.fault.loading import found_once, load
from tests.integration.processes import eventually
from tests.stores import BOTH

RECORD_STORES = BOTH

pytestmark = pytest.mark.long_run

DAY_US = 86_400_000_000
MEMORIES = 800


@pytest.fixture
def clock(shimmed):
    yield shimmed.shim
    shimmed.shim.set(offset_us=0)


@pytest.mark.parametrize(("fault", "offsets"), [("clock: +1 day", (0, DAY_US)), ("clock: -1 day", (0, -DAY_US))])
def test_a_jump_under_traffic_loses_nothing(shimmed, clock, fault, offsets):
    trial = shimmed.trial
    with trial.under(fault) as traffic:
        for offset in offsets:
            clock.set(offset_us=offset)
            trial.goes_on(traffic, 1.0)
            trial.recover(fault)


def test_leases_that_run_out_early_let_nobody_in_twice(shimmed, clock, started, indexed, report):
    """The worker that holds the rows is still at work when the clock says that its lease is long over."""
    topology, auditor = shimmed.trial.topology, shimmed.trial.auditor
    [first] = topology.workers
    second = topology.add_worker()
    first.send(signal.SIGSTOP)
    indexed(topology.client, load(topology.client, 10, namespace="elsewhere"))  # the second is there
    first.send(signal.SIGCONT)
    job = load(topology.client, MEMORIES, namespace="early")
    started(topology.client, job)
    for number in (1, 2, 3):
        eventually(auditor.claimed, every_s=0.002)
        clock.set(offset_us=number * DAY_US)
    indexed(topology.client, job)
    found_once(topology.client, MEMORIES, namespace="early")
    auditor.check_shards(MEMORIES, "early")
    report.survived("clock: leases run out early", MEMORIES)
    assert second.end() == 0
    topology.workers.remove(second)


@pytest.mark.parametrize("held", ["claimed", "flushing"])
def test_leases_of_tomorrow_are_not_waited_for(shimmed, clock, indexed, report, held):
    """A worker dies with what it holds, and then the clock is set back: the deadline is a day away, nobody waits."""
    topology, auditor, name = shimmed.trial.topology, shimmed.trial.auditor, f"tomorrow-{held}"
    [worker] = topology.workers
    clock.set(offset_us=DAY_US)
    job = load(topology.client, MEMORIES, namespace=name)

    def caught() -> int:
        worker.send(signal.SIGSTOP)
        if not (holds := getattr(auditor, held)()):
            worker.send(signal.SIGCONT)
        return holds

    eventually(caught, every_s=0.002)
    topology.kill("worker")
    clock.set(offset_us=0)
    topology.revive()
    indexed(topology.client, job)
    found_once(topology.client, MEMORIES, namespace=name)
    auditor.check_shards(MEMORIES, name)
    report.survived("clock: leases of tomorrow", MEMORIES)


def test_a_lifetime_ends_with_the_clock(shimmed, clock):
    client = shimmed.trial.topology.client
    body = {"namespace": "mortal", "id": "hour", "content": "Gone in an hourlong while.", "ttl_seconds": 3_600}
    assert client.post("/v1/memory", params={"wait": True}, json=body).status_code == 201
    clock.set(offset_us=DAY_US)
    query = {"namespace": "mortal", "query": "hourlong", "mode": "text"}
    eventually(lambda: client.post("/v1/memory/search", json=query).json()["results"] == [])
    assert client.get("/v1/memory/hour", params={"namespace": "mortal"}).status_code == 404
    added = body | {"id": "day", "ttl_seconds": 100_000}
    assert client.post("/v1/memory", params={"wait": True}, json=added).status_code == 201
    clock.set(offset_us=0)
    assert client.get("/v1/memory/day", params={"namespace": "mortal"}).status_code == 200

"""Hosts in worse trouble, for longer: partitions past a lease, services that are gone, callers that never stop."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import httpx
import pytest

from tests.integration.processes import eventually
from tests.multihost.farm import API_PORT, Farm, add, found, indexed, job, kept, load

pytestmark = [pytest.mark.long_run, pytest.mark.timeout(900)]

MANY = 1_500
CALLERS = 4


@pytest.fixture
def farm(tmp_path):
    farm = Farm(tmp_path)
    try:
        yield farm.start()
        farm.stop()
    finally:
        farm.discard()


def notes(count: int) -> list[str]:
    return [
        f"Note {number} lies in drawer {number * 7} of the cabinet in room {number % 31}." for number in range(count)
    ]


def caught_at_work(farm) -> str:
    """Load the farm; return the job once its worker has embedded some of it."""
    loaded = load(farm.callers, notes(MANY))
    begun = eventually(lambda: (seen := job(farm.callers, loaded))["embedded"] and seen, every_s=0.005)
    assert begun["embedded"] < MANY, "the load is too small to be caught in the middle"
    return loaded


def check(farm) -> None:
    """Every memory is there once: by the list, by a search, by the sums of the record store."""
    assert kept(farm.callers) == sorted(notes(MANY))
    top = found(farm.readers, "Note 700 in drawer 4900", limit=50)
    assert notes(MANY)[700] in top
    assert len(set(top)) == len(top)
    figures = dict(line.rsplit(" ", 1) for line in farm.health.get("/metrics").text.splitlines() if line[0] != "#")
    assert float(figures["ostraka_fleet_imbalance"]) == 0


@contextmanager
def rescued(farm) -> Iterator[None]:
    """While the block runs, the host of the services, whose wire is whole, has a worker, too."""
    rescuer = farm.begin(farm.c, "worker")
    yield
    farm.members.remove(rescuer)
    assert rescuer.end() == 0


def wake(farm) -> None:
    """See the only worker do new work: by then it has tried to commit what it had in hand."""
    answer = eventually(
        lambda: (given := add(farm.callers, "Room 99 has a window.", namespace="elsewhere")).is_success and given,
        within_s=120,
    )
    job_id = answer.json()["job_id"]
    eventually(lambda: indexed(farm.callers, job_id), within_s=180)


def test_a_worker_cut_off_past_its_lease_cannot_commit(farm):
    loaded = caught_at_work(farm)
    farm.network.cut(farm.b)
    with rescued(farm):
        eventually(lambda: indexed(farm.callers, loaded), within_s=300)
        farm.network.mend(farm.b)
    wake(farm)
    check(farm)


def test_a_worker_paused_past_its_lease_cannot_commit(farm):
    loaded = caught_at_work(farm)
    farm.worker.send(signal.SIGSTOP)
    with rescued(farm):
        eventually(lambda: indexed(farm.callers, loaded), within_s=300)
        farm.worker.send(signal.SIGCONT)
    wake(farm)
    check(farm)


class Caller(threading.Thread):
    """Adds note after note, each as often as it takes to be acknowledged, under one idempotency key."""

    def __init__(self, client: httpx.Client, share: int, ending: threading.Event) -> None:
        super().__init__(daemon=True)
        self.refused = 0
        self._client = client
        self._notes = notes(MANY)[share::CALLERS]
        self._ending = ending

    def run(self) -> None:
        for content in self._notes:
            while not self._ending.is_set() and not self._added(content):
                self.refused += 1

    def _added(self, content: str) -> bool:
        with suppress(httpx.TransportError):
            return add(self._client, content, key=content).status_code == 202
        return False


@contextmanager
def calling(farm) -> Iterator[list[Caller]]:
    """Let callers add all notes while the block runs; at its end every note was acknowledged."""
    ending = threading.Event()
    callers = [Caller(farm.client(farm.a, API_PORT), share, ending) for share in range(CALLERS)]
    for caller in callers:
        caller.start()
    try:
        yield callers
        for caller in callers:
            caller.join(300)
            assert not caller.is_alive()
    finally:
        ending.set()
        for caller in callers:
            caller.join(120)


def test_what_is_acknowledged_while_hosts_come_and_go_is_kept_once(farm):
    wake(farm)
    with calling(farm) as callers:
        eventually(lambda: farm.callers.get("/v1/memory", params={"namespace": "notes"}).json().get("next_cursor"))
        farm.network.cut(farm.c)  # nothing can be acknowledged now
        eventually(lambda: sum(caller.refused for caller in callers), within_s=120)
        farm.network.mend(farm.c)
        wake(farm)
        farm.kill(farm.api, farm.query)
        farm.revive_a()
        farm.kill(farm.worker)
        farm.worker = farm.begin(farm.b, "worker")
    wake(farm)
    eventually(lambda: len(found(farm.readers, "Note 700 in drawer 4900", limit=50)) == 50, within_s=120)
    check(farm)

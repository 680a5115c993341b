"""A memory that kills the worker whenever it is indexed ends as failed, alone; the others are found."""

import signal

import pytest

from tests.fault import poisoned_indexer
from tests.fault.loading import progress, text_of
from tests.fault.topology import Topology
from tests.integration.processes import Process, eventually
from tests.stores import BOTH

RECORD_STORES = BOTH

pytestmark = pytest.mark.long_run

ATTEMPTS = 3
DEADLY = 3
MEMORIES = 6


class PoisonedIndexer(Process):
    """A worker that dies of some texts."""

    program = (poisoned_indexer.__file__,)

    def revive(self) -> int:
        """Start it again if it died, as a supervisor would; return how often it died."""
        if self.returncode is None:
            return 0
        assert self.returncode == -signal.SIGKILL, self.log.read_text()
        self.spawn()
        return 1


@pytest.fixture
def settings(environment):
    return environment | {"OSTRAKA_QUEUE__LEASE_S": "1", "OSTRAKA_QUEUE__ATTEMPTS_MAX": str(ATTEMPTS)}


@pytest.fixture
def topology(tmp_path, settings):
    topology = Topology(tmp_path, settings)
    try:
        yield topology.start()
        topology.stop()
    finally:
        topology.discard()


@pytest.fixture
def poisoned(tmp_path, settings, topology):
    """A poisoned worker; not one of the topology's, because it may die."""
    settings = settings | {"OSTRAKA_QUEUE__REDIS_URL": topology.redis_url}
    worker = PoisonedIndexer(tmp_path, "worker", environment=settings)
    yield worker
    worker.discard()


def test_a_memory_that_kills_every_flush_is_given_up(topology, poisoned, auditor):
    client = topology.client
    jobs = []
    for number in range(MEMORIES):
        text = text_of(number) + (f" It is {poisoned_indexer.DEADLY}." if number == DEADLY else "")
        body = {"namespace": "audited", "id": f"m{number}", "content": text}
        jobs.append(client.post("/v1/memory", json=body).json()["job_id"])
    poisoned.spawn()
    deaths = 0

    def ended():
        nonlocal deaths
        deaths += poisoned.revive()
        return all(progress(client, job)["finished_at"] for job in jobs)

    eventually(ended, within_s=120)
    found = [progress(client, job) for job in jobs]
    assert [job["state"] for job in found] == ["failed" if n == DEADLY else "indexed" for n in range(MEMORIES)]
    assert found[DEADLY]["errors"] == [{"code": "indexing_failed", "memories": 1}]
    assert deaths >= ATTEMPTS

    single = client.post("/v1/memory", params={"wait": True}, json={"namespace": "audited", "content": "Afterwards."})
    assert single.status_code == 201
    hits = client.get("/v1/memory/search", params={"namespace": "audited", "query": "the word of entry", "limit": 20})
    assert {hit["id"] for hit in hits.json()["results"]} >= {f"m{n}" for n in range(MEMORIES) if n != DEADLY}
    assert poisoned.end() == 0
    assert auditor.states() == {"indexed": MEMORIES, "failed": 1}

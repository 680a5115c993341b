"""Two worker processes on one namespace: every memory exactly once."""

import pytest

from tests.fault.loading import found_once, load, text_of
from tests.integration.processes import eventually
from tests.stores import BOTH

RECORD_STORES = BOTH

MEMORIES = 1_500


def test_two_workers_race_on_one_namespace(topology, auditor, indexed):
    topology.add_worker()
    topology.add_worker()
    jobs = [load(topology.client, MEMORIES)]
    for number in range(MEMORIES, MEMORIES + 60):
        body = {"namespace": "audited", "id": f"m{number}", "content": text_of(number)}
        jobs.append(topology.client.post("/v1/memory", json=body).json()["job_id"])
    for job in jobs:
        indexed(topology.client, job)
    found_once(topology.client, MEMORIES + 60)
    auditor.check_shards(MEMORIES + 60)


@pytest.mark.long_run
def test_workers_of_different_queues_share_the_work(topology, auditor, indexed):
    for queues in ("embed,embed-bulk", "index", "maintain"):
        topology.add_worker("--queues", queues)
    indexed(topology.client, load(topology.client, 300))
    eventually(lambda: auditor.states() == {"indexed": 300})
    found_once(topology.client, 300, sample=5)

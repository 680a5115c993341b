"""kill -9 of the worker in the middle of its work: every memory ends indexed, and is there once."""

import pytest

from tests.fault.loading import found_once, load, text_of
from tests.integration.processes import eventually
from tests.stores import LONG_ON_POSTGRES

RECORD_STORES = LONG_ON_POSTGRES

MEMORIES = 1_100  # three batches of a backfill


@pytest.mark.long_run
def test_killed_twice_while_it_embeds(server, auditor, started, indexed, report):
    job = load(server.client, MEMORIES)
    started(server.client, job)
    for _ in range(2):
        worker = server.worker
        eventually(auditor.claimed, every_s=0.002)
        worker.kill()
        eventually(lambda killed=worker: server.worker.pid != killed.pid)
    indexed(server.client, job)
    found_once(server.client, MEMORIES)
    auditor.check_shards(MEMORIES)
    report.survived("kill -9: worker in the middle of a batch", MEMORIES)


def test_killed_while_it_builds_a_shard(server, auditor, indexed, report):
    job = load(server.client, MEMORIES)
    eventually(lambda: auditor.lease("flush-"), every_s=0.002)
    worker = server.worker
    worker.kill()
    eventually(lambda: server.worker.pid != worker.pid)
    indexed(server.client, job)
    found_once(server.client, MEMORIES)
    auditor.check_shards(MEMORIES)
    report.survived("kill -9: worker in the middle of a flush", MEMORIES)


def test_single_adds_go_on_while_the_worker_is_dead(server, auditor):
    server.worker.kill()
    for number in range(20):
        body = {"namespace": "audited", "id": f"m{number}", "content": text_of(number)}
        assert server.client.post("/v1/memory", json=body).status_code == 202
    eventually(lambda: auditor.states() == {"indexed": 20})
    found_once(server.client, 20, sample=20)
    auditor.check_shards(20)

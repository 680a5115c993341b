"""Texts that kill the worker, or that the model refuses: they alone fail, and are tried again or given up as asked."""

import json
import signal

import pytest

from tests.fault import poisoned_worker
from tests.fault.loading import progress, text_of
from tests.fault.topology import Topology
from tests.integration.processes import Process, eventually, run_command
from tests.stores import BOTH

RECORD_STORES = BOTH

pytestmark = pytest.mark.long_run

ATTEMPTS = 3
BATCH = 8  # then four, then one
MEMORIES = 24
DEADLY, REFUSED = 5, 13


class PoisonedWorker(Process):
    """A worker that dies of some texts."""

    program = (poisoned_worker.__file__,)

    def revive(self) -> int:
        """Start it again if it died, as a supervisor would; return how often it died."""
        if self.returncode is None:
            return 0
        assert self.returncode == -signal.SIGKILL, self.log.read_text()
        self.spawn()
        return 1


@pytest.fixture
def settings(environment):
    bounds = {"OSTRAKA_QUEUE__LEASE_S": "1", "OSTRAKA_QUEUE__ATTEMPTS_MAX": str(ATTEMPTS)}
    return environment | bounds | {"OSTRAKA_EMBEDDINGS__BATCH_SIZE": str(BATCH)}


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
    worker = PoisonedWorker(tmp_path, "worker", environment=settings | {"OSTRAKA_QUEUE__REDIS_URL": topology.redis_url})
    yield worker
    worker.discard()


def load(client) -> str:
    texts = [text_of(number) for number in range(MEMORIES)]
    texts[DEADLY] += f" It is {poisoned_worker.DEADLY}."
    texts[REFUSED] += f" It is {poisoned_worker.REFUSED}."
    lines = [
        json.dumps({"namespace": "audited", "id": f"m{number}", "content": text}) for number, text in enumerate(texts)
    ]
    headers = {"content-type": "application/x-ndjson"}
    return client.post("/v1/memory/bulk", content="\n".join(lines), headers=headers).json()["job_id"]


def listed(client) -> list[tuple[str, str, int]]:
    failures = client.get("/v1/failures", params={"namespace": "audited"}).json()["failures"]
    return [(failure["id"], failure["error"], failure["attempts"]) for failure in failures]


def test_poison_fails_alone_and_can_be_tried_again_or_given_up(topology, poisoned, auditor, tmp_path, settings):
    client = topology.client
    job_id = load(client)
    poisoned.spawn()
    deaths = 0

    def ended():
        nonlocal deaths
        deaths += poisoned.revive()
        return (job := progress(client, job_id))["finished_at"] and job

    job = eventually(ended)
    assert deaths == ATTEMPTS
    assert (job["state"], job["indexed"], job["failed"]) == ("failed", MEMORIES - 2, 2)
    assert {error["code"] for error in job["errors"]} == {"attempts_exhausted", "embedding_failed"}
    assert listed(client) == [
        (f"m{DEADLY}", "attempts_exhausted", ATTEMPTS),
        (f"m{REFUSED}", "embedding_failed", ATTEMPTS),
    ]
    memory = client.get(f"/v1/memory/m{DEADLY}", params={"namespace": "audited"}).json()
    assert (memory["state"], memory["error"]) == ("failed", "attempts_exhausted")
    assert poisoned.end() == 0

    status, out, err = run_command(tmp_path, "failures", "list", "--namespace", "audited", environment=settings)
    assert status == 0, err
    assert [f"m{number}" in out for number in (DEADLY, REFUSED, DEADLY + 1)] == [True, True, False]

    topology.add_worker()  # its model is sound
    retried = client.post("/v1/failures/retry", json={"namespace": "audited", "ids": [f"m{DEADLY}"]})
    assert retried.json() == {"retried": 1}
    found = eventually(lambda: (now := progress(client, job_id))["finished_at"] and now)
    assert (found["state"], found["indexed"], found["failed"]) == ("failed", MEMORIES - 1, 1)
    assert client.post(f"/v1/jobs/{job_id}/retry").json()["state"] in {"embedding", "indexing", "indexed"}
    eventually(lambda: progress(client, job_id)["state"] == "indexed")
    assert listed(client) == []
    auditor.check_shards(MEMORIES)


def test_a_memory_that_kills_every_worker_is_given_up(topology, poisoned, tmp_path, settings):
    """A lone one: it is tried alone from the first time on."""
    client = topology.client
    body = {"namespace": "audited", "id": "poison", "content": f"This is {poisoned_worker.DEADLY}."}
    job_id = client.post("/v1/memory", json=body).json()["job_id"]
    poisoned.spawn()
    deaths = 0

    def ended():
        nonlocal deaths
        deaths += poisoned.revive()
        return progress(client, job_id)["state"] == "failed"

    eventually(ended)
    assert deaths == ATTEMPTS
    assert poisoned.end() == 0
    command = ("failures", "discard", "--namespace", "audited", "--id", "poison")
    status, out, err = run_command(tmp_path, *command, environment=settings)
    assert status == 0, err
    discarded, receipt = out.split("\n", 1)
    assert discarded == "discarded 1"
    assert client.get(f"/v1/deletions/{receipt.strip()}").json()["rows"] == 1
    assert client.get("/v1/memory/poison", params={"namespace": "audited"}).status_code == 404
    assert progress(client, job_id)["deleted"] == 1

"""Redis that is not there when a worker starts, or does not let it in."""

import pytest

from tests.fault.loading import found_once, load, text_of
from tests.fault.topology import Topology
from tests.integration.processes import Process, eventually
from tests.stores import BOTH

RECORD_STORES = BOTH

pytestmark = pytest.mark.long_run


@pytest.fixture
def rarely_looking(tmp_path, environment):
    """A topology whose workers look at once and then not for an hour: afterwards only rings tell them of work."""
    topology = Topology(tmp_path, environment | {"OSTRAKA_QUEUE__RECONCILE_S": "3600"})
    try:
        yield topology.start()
    finally:
        topology.discard()


def test_a_worker_that_starts_without_redis_works_and_hears_it_once_it_is_there(rarely_looking, auditor, indexed):
    topology = rarely_looking
    first = load(topology.client, 50)
    topology.kill("redis")
    worker = topology.add_worker()
    assert worker.event("redis_away")
    eventually(lambda: auditor.states() == {"embedded": 50} or auditor.states() == {"indexed": 50})
    topology.revive()
    eventually(lambda: topology.client.get("/health/ready").status_code == 200)
    second = load(topology.client, 50, first=50)  # rings; nobody looks
    indexed(topology.client, second)
    indexed(topology.client, first)
    found_once(topology.client, 100, sample=5)
    topology.kill("redis")
    assert worker.end() == 0  # in the middle of waiting for a connection
    auditor.check_shards(100)


def test_a_wrong_password_at_the_start_is_said_in_one_line(topology, environment, tmp_path):
    with topology.connection() as connection:
        connection.config_set("requirepass", "right")
    try:
        for password in ("", ":wrong@"):
            url = f"redis+socket://{password}{topology.socket}"
            worker = Process(tmp_path, "worker", environment=environment | {"OSTRAKA_QUEUE__REDIS_URL": url}).spawn()
            assert worker.wait() == 2
            said = worker.log.read_text()
            assert "ostraka: [queue] redis_url: Redis refuses" in said
            assert "wrong" not in said
            assert "Traceback" not in said
    finally:
        with topology.connection(password="right") as connection:
            connection.config_set("requirepass", "")
    body = {"namespace": "audited", "content": text_of(0)}
    topology.add_worker()
    assert topology.client.post("/v1/memory", params={"wait": True}, json=body).status_code == 201

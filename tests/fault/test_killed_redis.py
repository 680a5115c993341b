"""Redis killed or emptied: writes are accepted meanwhile, and everything is indexed afterwards."""

import pytest
import redis

from tests.fault.loading import found_once, load, text_of
from tests.integration.processes import eventually
from tests.stores import BOTH

RECORD_STORES = BOTH

pytestmark = pytest.mark.long_run

MEMORIES = 800


def test_killed_redis_is_restarted_and_nothing_is_lost(server, auditor, indexed):
    killed = server.redis
    killed.kill()
    for number in range(20):  # some while it is down
        body = {"namespace": "audited", "id": f"m{number}", "content": text_of(number)}
        assert server.client.post("/v1/memory", json=body).status_code == 202
    job = load(server.client, MEMORIES - 20, first=20)
    eventually(lambda: server.redis.pid != killed.pid)
    eventually(lambda: server.client.get("/health/ready").status_code == 200)
    indexed(server.client, job)
    eventually(lambda: auditor.states() == {"indexed": MEMORIES})
    found_once(server.client, MEMORIES)
    added = server.client.post("/v1/memory", params={"wait": True}, json={"namespace": "later", "content": "after"})
    assert added.status_code == 201


def test_killed_again_and_again_while_memories_arrive(server, auditor):
    for number in range(30):
        if number % 10 == 5:
            server.redis.kill()
        body = {"namespace": "audited", "id": f"m{number}", "content": text_of(number)}
        assert server.client.post("/v1/memory", json=body).status_code == 202
    eventually(lambda: auditor.states() == {"indexed": 30})
    found_once(server.client, 30, sample=30)


def test_flushall_in_the_middle_of_a_backlog_loses_nothing(server, auditor, started, indexed):
    job = load(server.client, MEMORIES)
    started(server.client, job)
    with redis.Redis(unix_socket_path=str(server.socket)) as connection:
        connection.flushall()
    second = load(server.client, 100, first=MEMORIES)
    with redis.Redis(unix_socket_path=str(server.socket)) as connection:
        connection.flushall()
    indexed(server.client, job)
    indexed(server.client, second)
    found_once(server.client, MEMORIES + 100)
    auditor.check_shards(MEMORIES + 100)

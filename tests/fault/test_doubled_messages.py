"""A message delivered twice, or a thousand times, or to nobody known, changes nothing."""

import pytest
import redis

from core.pipeline.doorbell import QUEUES
from tests.fault.loading import found_once, load
from tests.integration.processes import eventually
from tests.stores import LONG_ON_POSTGRES
from workers.app import create_celery, publisher

RECORD_STORES = LONG_ON_POSTGRES


def drained(topology):
    return not any(topology.messages(queue) for queue in QUEUES)


def test_a_thousand_rings_change_nothing(topology, auditor, indexed, report):
    topology.add_worker()
    indexed(topology.client, load(topology.client, 200))
    company = auditor.records.company
    eventually(lambda: drained(topology))
    before = auditor.snapshot()
    with create_celery(topology.redis_url) as app:
        ring = publisher(app)
        for number in range(1_000):
            ring(QUEUES[number % len(QUEUES)], company)
        ring("embed", "co_unknown")
        app.pool.force_close_all()
    eventually(lambda: drained(topology))
    assert auditor.snapshot() == before
    found_once(topology.client, 200, sample=10)
    after = load(topology.client, 10, first=200)  # and the worker still works
    indexed(topology.client, after)
    auditor.check_shards(210)
    report.survived("messages doubled", 210)


@pytest.mark.long_run
def test_the_same_message_a_hundred_times_is_one_effect(topology, auditor, indexed, report):
    job = load(topology.client, 200)  # nobody works yet, so the message lies there
    [message] = eventually(lambda: topology.messages("embed-bulk"))
    topology.push("embed-bulk", [message] * 100)
    topology.add_worker()
    topology.add_worker()
    indexed(topology.client, job)
    eventually(lambda: drained(topology))
    found_once(topology.client, 200, sample=10)
    auditor.check_shards(200)
    report.survived("messages doubled", 200)


@pytest.mark.long_run
def test_messages_that_are_not_ours_are_survived(server, auditor, indexed, report):
    """Celery's consumer ends on what it cannot parse; the supervisor starts another, without the message."""
    before = server.worker.pid
    with redis.Redis(unix_socket_path=str(server.socket)) as connection:
        connection.rpush("embed", b"not json", b"{}")
        eventually(lambda: not connection.llen("embed"))
    eventually(lambda: server.worker.pid != before)
    indexed(server.client, load(server.client, 20))
    found_once(server.client, 20, sample=5)
    auditor.check_shards(20)
    report.survived("messages not ours", 20)

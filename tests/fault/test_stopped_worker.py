"""SIGTERM under load: a worker ends by itself, holds nothing any more, and what it had in hand is done by the next."""

from sqlalchemy import func, select

from core.records.tables import State, memories
from tests.fault.loading import found_once, load, text_of
from tests.integration.processes import eventually
from tests.stores import LONG_ON_POSTGRES

RECORD_STORES = LONG_ON_POSTGRES

MEMORIES = 800
STOPS = 2


def in_hand(auditor) -> list[tuple[int, str | None, int | None]]:
    """What keeps pending rows from being claimed at once, or is held against them."""
    columns = memories.c.attempts, memories.c.lease, memories.c.lease_until
    with auditor.records.database.read() as connection:
        rows = connection.execute(select(*columns).where(memories.c.state == State.PENDING).distinct())
        return [tuple(row) for row in rows]


def pending(auditor) -> int:
    with auditor.records.database.read() as connection:
        return connection.execute(select(func.count()).where(memories.c.state == State.PENDING)).scalar_one()


def test_a_stopped_worker_hands_back_what_it_has_claimed(topology, auditor, indexed):
    jobs = [load(topology.client, MEMORIES)]
    for number in range(STOPS):
        worker = topology.add_worker()
        eventually(auditor.claimed, every_s=0.002)
        added = topology.client.post(
            "/v1/memory",
            json={"namespace": "audited", "id": f"m{MEMORIES + number}", "content": text_of(MEMORIES + number)},
        )
        jobs.append(added.json()["job_id"])
        assert worker.end() == 0
        assert pending(auditor), "the load is too small to be caught in the middle"
        assert in_hand(auditor) == [(0, None, None)]
        assert not auditor.lease("")
    topology.add_worker()
    for job in jobs:
        indexed(topology.client, job)
    found_once(topology.client, MEMORIES + STOPS, sample=10)
    auditor.check_shards(MEMORIES + STOPS)

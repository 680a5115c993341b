"""A worker stopped past its lease: another does its work, and what it commits when it wakes changes nothing."""

import signal

import pytest

from tests.fault.loading import found_once, load
from tests.integration.processes import eventually
from tests.stores import LONG_ON_POSTGRES

RECORD_STORES = LONG_ON_POSTGRES

MEMORIES = 1_100  # three batches of a backfill


def test_paused_while_it_embeds(topology, auditor, started, indexed, report):
    paused = topology.add_worker()
    job = load(topology.client, MEMORIES)
    started(topology.client, job)
    eventually(auditor.claimed, every_s=0.002)
    paused.send(signal.SIGSTOP)
    assert auditor.claimed()
    topology.add_worker()
    indexed(topology.client, job)
    before = auditor.snapshot()
    paused.send(signal.SIGCONT)
    wake(topology, indexed)
    assert auditor.snapshot()[1:] == before[1:]
    found_once(topology.client, MEMORIES)
    auditor.check_shards(MEMORIES)
    report.survived("worker paused past its lease", MEMORIES)


@pytest.mark.long_run
def test_paused_while_it_builds_a_shard(topology, auditor, indexed, report):
    paused = topology.add_worker()
    job = load(topology.client, MEMORIES)
    # The range is claimed last: then it builds, in no transaction that would keep all others from writing.
    eventually(lambda: auditor.lease(f"flush-{auditor.namespace().id}-"), every_s=0.002)
    paused.send(signal.SIGSTOP)
    assert auditor.generation() == 0, "the flush was over before it could be paused"
    topology.add_worker()
    indexed(topology.client, job)
    before = auditor.snapshot()
    paused.send(signal.SIGCONT)
    wake(topology, indexed)
    assert auditor.snapshot() == before
    found_once(topology.client, MEMORIES)
    auditor.check_shards(MEMORIES)
    report.survived("worker paused past its lease", MEMORIES)


def wake(topology, indexed):
    """Give both workers something to do elsewhere, and see it done: by then the woken one has tried its commit."""
    for _ in range(3):
        indexed(topology.client, load(topology.client, 50, namespace="elsewhere"))

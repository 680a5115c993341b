"""A disk that is full, read-only, or fails to sync: writes are refused, searches go on, and then all goes on."""

import pytest

from tests.integration.processes import eventually

FAULTS = {"full": "ENOSPC: disk full", "read_only": "EROFS: read-only", "unsynced": "EIO: every sync"}


@pytest.mark.parametrize("fault", FAULTS)
def test_writes_are_refused_and_searches_go_on(shimmed, fault, plan):
    trial, name = shimmed.trial, FAULTS[fault]
    with trial.under(name) as traffic:
        for _ in range(plan.disk_cycles):
            with getattr(shimmed.disk, fault)():
                refused = traffic.counts["503"]
                eventually(lambda so_far=refused: traffic.check() or traffic.counts["503"] > so_far + 5)
                reads = traffic.counts["reads"]
                traffic.run_for(1.0)
                assert traffic.counts["reads"] > reads
            trial.recover(name)
            traffic.run_for(0.5)


def test_a_start_on_a_read_only_disk_says_so_in_one_line(shimmed):
    topology = shimmed.trial.topology
    topology.kill("api")
    with shimmed.disk.read_only():
        status = topology.api.spawn().wait()
    told = topology.api.log.read_text()
    topology.revive()
    assert status == 2
    assert len(told.splitlines()) == 1, told
    assert "Read-only file system" in told

"""kill -9 at random moments, again and again, while callers write, change, delete and read."""

import time

import pytest

from tests.fault.topology import PARTS
from tests.stores import LONG_ON_POSTGRES

RECORD_STORES = LONG_ON_POSTGRES

KINDS = [("api",), ("worker",), ("redis",), PARTS]


def test_nothing_is_lost_doubled_or_resurrected(lasting, plan, rng):
    kinds = [KINDS[number % len(KINDS)] for number in range(plan.kill_cycles)]
    rng.shuffle(kinds)
    with lasting.under("kill -9: traffic meanwhile") as traffic:
        for parts in kinds:
            traffic.run_for(rng.uniform(0.05, 0.6))
            killed = time.monotonic()
            lasting.topology.kill(*parts)
            time.sleep(rng.uniform(0, 0.3))
            lasting.recover(f"kill -9: {'all' if parts == PARTS else parts[0]}", since=killed)


@pytest.mark.long_run
def test_a_rolling_restart_is_not_noticed(lasting, plan):
    fault = "SIGTERM: rolling restart"
    with lasting.under(fault) as traffic:
        for part in PARTS * plan.restarts:
            traffic.run_for(0.3)
            stopped = time.monotonic()
            lasting.topology.end(part)
            lasting.recover(fault, since=stopped)

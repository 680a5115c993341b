"""The long run of the fault suite: `python -m tests.fault`."""

import argparse
import os
import sys
from pathlib import Path

import pytest

from tests.fault.plan import Plan
from tests.fault.report import FaultRun

PER_TEST_S = 3_600


def main() -> int:
    """Run every fault, print and write the report; 0 only if nothing was lost, doubled, resurrected or undetected."""
    parser = argparse.ArgumentParser(prog="make fault", description=__doc__)
    parser.add_argument("--cycles", type=int, default=100, help="kill -9, how often (default: %(default)s)")
    parser.add_argument(
        "--pause", type=float, default=30, help="seconds that Redis stands still (default: %(default)s)"
    )
    parser.add_argument("--load", type=float, default=60, help="seconds of heavy load (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(3)), help="repeat a run")
    parser.add_argument("--report", type=Path, default=Path("fault-report.json"), help="where to write the figures")
    given, for_pytest = parser.parse_known_args()
    os.environ["OSTRAKA_TEST_SEED"] = str(given.seed)  # read by tests/conftest.py
    plan = Plan(
        given.cycles,
        given.pause,
        given.load,
        restarts=5,
        redis_cycles=5,
        disk_cycles=5,
        damage_cycles=5,
        every=1,
        long=True,
    )
    run = FaultRun(plan, given.seed, given.report)
    status = pytest.main(
        ["tests", "-m", "fault or long_run", "-o", f"timeout={PER_TEST_S}", "-v", *for_pytest], plugins=[run]
    )
    total = run.report.total()
    return int(status) or int(bool(total.lost or total.duplicated or total.resurrected or total.undetected))


if __name__ == "__main__":
    sys.exit(main())

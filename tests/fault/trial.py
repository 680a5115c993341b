"""A trial: traffic, a fault in the middle of it, and the verdict."""

import itertools
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.fault.audit import Auditor
from tests.fault.ledger import Ledger
from tests.fault.report import Report
from tests.fault.topology import Topology
from tests.fault.traffic import Traffic
from tests.fault.verdict import judge
from tests.integration.processes import eventually

_numbers = itertools.count()


class Trial:
    """One topology under traffic. What happens is added to the report under the name of the fault."""

    def __init__(self, topology: Topology, auditor: Auditor, report: Report, rng: random.Random) -> None:
        self.topology = topology
        self.auditor = auditor
        self._report = report
        self._rng = rng

    @contextmanager
    def under(self, fault: str, **callers: float) -> Iterator[Traffic]:
        """Yield traffic that goes on; when the block ends it stops, and every promise made in it is checked."""
        ledger = Ledger(f"trial-{next(_numbers)}")
        with Traffic(self.topology.url, ledger, str(self._rng.random()), **callers) as traffic:
            eventually(lambda: traffic.check() or ledger.writes > 20)
            yield traffic
        judge(self.topology, self.auditor, ledger, self._report.of(fault), self._rng)

    def goes_on(self, traffic: Traffic, seconds: float) -> None:
        """Let the fault last; meanwhile writes are acknowledged and questions answered."""
        writes, reads = traffic.ledger.writes, traffic.counts["reads"]
        traffic.run_for(seconds)
        eventually(lambda: traffic.check() or traffic.ledger.writes > writes, within_s=30)
        eventually(lambda: traffic.check() or traffic.counts["reads"] > reads, within_s=30)

    def recover(self, fault: str, since: float | None = None) -> None:
        """Wait until a new memory is searchable, counted from now or from an earlier moment; that ends a cycle."""
        seconds = self.topology.recover(time.monotonic() if since is None else since)
        self._report.recovered(fault, seconds)
        self._report.of(fault).cycles += 1

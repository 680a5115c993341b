"""The schedule: rings for work that waits and nobody has claimed, for every company, and does none of it.

Any number of schedulers may run. A ring is made under a lease of the company's record store that nobody gives back: it
runs out when the next is due, so that all of them together ring as often as one.
"""

from collections.abc import Callable
from typing import Final

from core.errors import Frozen
from core.pipeline.doorbell import MAINTAIN
from core.pipeline.unclaimed import forgotten_work
from core.records.control import ControlStore
from core.records.leases import take_lease

_EARLY: Final = 0.9  # of the period: a look that comes a little early rings yet


class Schedule:
    """Rings in place of workers that look for themselves."""

    def __init__(
        self, control: ControlStore, ring: Callable[[str, str], None], period_s: Callable[[str], float]
    ) -> None:
        """``ring(queue, company)`` wakes a worker; ``period_s(queue)`` is how often it is asked whether to."""
        self.control = control
        self._ring = ring
        self._period_s = period_s

    def catch_up(self, queue: str, company_id: str) -> None:
        """Ring for a company's forgotten work in a queue, if there is any and nobody has just done so.

        Raises ``NotFound``, ``IntegrityError``, ``Unavailable``.
        """
        if queue != MAINTAIN and self.control.terms(company_id).suspended:
            return
        records = self.control.records(company_id)
        if not forgotten_work(records, queue):
            return
        lease_us = int(self._period_s(queue) * _EARLY * 1e6)
        try:
            with records.database.write(synced=False) as connection:
                taken = take_lease(connection, f"ring-{queue}", now=records.clock(), lease_us=lease_us)
        except Frozen:  # there is nothing to do until it ends
            return
        if taken:
            self._ring(queue, company_id)

    def finish_departures(self) -> None:
        """Leave them to a worker, who has the host's cache."""

"""The auditor of a process: counts ordinary requests, and writes administrative ones before they are answered."""

import math
import threading
import time
from typing import Final

import structlog

from core.audit.events import UNKNOWN, Event
from core.audit.log import AuditLog
from core.audit.tallies import Tallies
from core.clock import Clock
from core.errors import Frozen

log = structlog.get_logger()

PERIOD_S: Final = 30.0  # what a process that is killed may lose; shorter ones make the log longer
_KINDS_OF_PERIOD: Final = 50  # of requests with a credential; more of them make the next period as much longer
_KINDS_MAX: Final = 1_000  # in a period, which then takes ten minutes: 50 MB a day
_ADDRESSES_MAX: Final = 8  # of one key, in a period
_PRUNE_EVERY_S: Final = 3_600.0
# Anybody can make these. So many are 12 MB a day, were it done without a pause.
_STRANGERS_MAX: Final = 16


class Auditor:
    """Takes events from any thread. Close it to write what it has counted."""

    def __init__(self, audit: AuditLog, clock: Clock, keep_days: int) -> None:
        """``keep_days``: how long entries are kept; 0 is for ever."""
        self._audit = audit
        self._clock = clock
        self._keep_days = keep_days
        self.entries = 0  # written by this process
        self.lost = 0  # requests that were counted and nothing else
        self._newest_at = self._read_newest_at()
        self._began_at = time.monotonic()
        self._callers, self._strangers = self._begin()
        self._counting = threading.Lock()
        self._flushing = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="auditor", daemon=True)
        self._thread.start()

    def count(self, event: Event) -> None:
        """Count an ordinary request. Never waits, never fails."""
        with self._counting:
            (self._strangers if event.actor == UNKNOWN else self._callers).add(event)

    def record(self, event: Event) -> None:
        """Write an entry; it is durable when this returns. Raises ``Frozen``, ``Unavailable``, ``IntegrityError``."""
        self._audit.append([event])
        self.entries += 1

    def conclude(self, event: Event) -> None:
        """Write an entry of what happens anyway, such as an end; where that cannot be done now, do it later."""
        try:
            self.record(event)
        except Frozen:
            self.count(event)
        except Exception as error:  # noqa: BLE001 - whatever it is, what was done is to be answered
            log.error("audit_not_written", error=type(error).__name__)
            self.count(event)

    def flush(self) -> None:
        """Write what was counted. Raises ``Frozen``, ``Unavailable``, ``IntegrityError``; nothing is lost by that."""
        with self._flushing:
            with self._counting:
                taken = self._callers, self._strangers
                self._callers, self._strangers = self._begin()
            events = [event for tallies in taken for event in tallies.events()]
            if not events:
                return
            try:
                self._audit.append(events)
            except BaseException:
                self._give_back(*taken)
                raise
            self.entries += len(events)
            self.lost += sum(tallies.lost for tallies in taken)

    def prune(self) -> int:
        """Remove a day that is too old; return how many entries it had.

        Raises ``Frozen``, ``Unavailable``, ``IntegrityError``.

        A clock that was set wrong is not believed: no more time has passed for sure than since the last entry that was
        found, and while this process ran.
        """
        ran_us = int((time.monotonic() - self._began_at) * 1e6)
        return self._audit.prune(self._keep_days, min(self._clock(), self._newest_at + ran_us))

    def close(self) -> None:
        """Write what was counted, if the log can be written, and stop."""
        self._stopping.set()
        self._thread.join()
        self._try_flush()

    def _read_newest_at(self) -> int:
        try:
            return self._audit.newest_at() or self._clock()
        except Exception as error:  # noqa: BLE001 - whatever it is, requests can be served
            log.error("audit_not_read", error=type(error).__name__)
            return 0  # and nothing is pruned

    def _begin(self) -> tuple[Tallies, Tallies]:
        now = self._clock()
        return Tallies(now, _KINDS_MAX, _ADDRESSES_MAX), Tallies(now, _STRANGERS_MAX, _STRANGERS_MAX)

    def _give_back(self, callers: Tallies, strangers: Tallies) -> None:
        with self._counting:
            callers.absorb(self._callers)
            strangers.absorb(self._strangers)
            self._callers, self._strangers = callers, strangers

    def _run(self) -> None:
        pruned_at, period_s = -math.inf, PERIOD_S
        while not self._stopping.wait(period_s):
            period_s = next_period_s(len(self._callers.counts))
            self._try_flush()
            if time.monotonic() - pruned_at >= _PRUNE_EVERY_S:
                self._try_prune()
                pruned_at = time.monotonic()

    def _try_flush(self) -> None:
        try:
            self.flush()
        except Frozen:
            pass
        except Exception as error:  # noqa: BLE001 - whatever it is, the next time comes
            log.error("audit_not_written", error=type(error).__name__)

    def _try_prune(self) -> None:
        try:
            if pruned := self.prune():
                log.info("audit_pruned", entries=pruned)
        except Frozen:
            pass
        except Exception as error:  # noqa: BLE001 - as above
            log.error("audit_not_pruned", error=type(error).__name__)


def next_period_s(kinds: int) -> float:
    """Return how long to count behind a period with so many kinds: the log grows by so many a second at most."""
    return PERIOD_S * max(1.0, kinds / _KINDS_OF_PERIOD)

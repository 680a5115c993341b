"""The reconciler's clock: looks for work whose doorbell was lost, with or without Redis.

In a worker the work is done at once; in a scheduler somebody is rung for it.
"""

import random
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

import structlog

from core.clock import now_us
from core.errors import kind_of
from core.pipeline.doorbell import MAINTAIN
from core.pipeline.patience import Patience
from core.records.control import ControlStore
from workers.pulse import Pulse

log = structlog.get_logger()

MAINTAIN_EVERY_S = 10.0


class Looker(Protocol):
    """Whoever sees to what is forgotten: a runtime, or a schedule."""

    control: ControlStore

    def catch_up(self, queue: str, company_id: str) -> None:
        """See to a company's forgotten work in a queue."""

    def finish_departures(self) -> None:
        """See to what deletions of companies have left to do."""


class Watch:
    """One thread for each queue; a long drain of one does not delay another."""

    def __init__(
        self,
        looker: Looker,
        queues: Sequence[str],
        every_s: float,
        rng: random.Random,
        pulse: Pulse,
        silent_s_max: float,
    ) -> None:
        """Look every ``every_s``, for maintenance more rarely; a look comes forward at least every ``silent_s_max``."""
        self._looker = looker
        self._pulse = pulse
        self._silent_s_max = silent_s_max
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(
                target=self._run,
                args=(queue, period_s(queue, every_s), Patience(now_us, rng)),
                name=f"watch-{queue}",
                daemon=True,
            )
            for queue in queues
        ]

    def start(self) -> None:
        """Begin to look, at once and then periodically."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop looking; work under way is finished or handed back first."""
        self._stop.set()
        for thread in self._threads:
            if thread.ident is not None:  # a stop may come before the start is over
                thread.join()

    def _run(self, queue: str, every_s: float, patience: Patience) -> None:
        with self._pulse.watched(f"watch-{queue}", every_s + self._silent_s_max):
            self._look(queue, every_s, patience)

    def _look(self, queue: str, every_s: float, patience: Patience) -> None:
        companies: list[str] = []  # as last listed

        def list_companies() -> None:
            companies[:] = self._looker.control.company_ids()

        while True:
            if queue == MAINTAIN:
                self._try("departures", patience, self._looker.finish_departures)
            self._try("companies", patience, list_companies)
            for company in companies:
                if not self._stop.is_set():
                    self._try(company, patience, partial(self._looker.catch_up, queue, company))
            if self._stop.wait(every_s):
                return

    def _try(self, subject: str, patience: Patience, work: Callable[[], None]) -> None:
        """Do work that did not fail a moment ago. One company's faults are no other's, and the watch outlives all."""
        self._pulse.beat()
        if not patience.allows(subject):
            return
        try:
            work()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is tried again
            again_in_s = patience.failed(subject)
            log.error("catch_up_failed", subject=subject, error=kind_of(error), again_in_s=again_in_s)
        else:
            patience.succeeded(subject)


def period_s(queue: str, every_s: float) -> float:
    """Return how often a queue is looked at, where work is looked for every ``every_s``."""
    return max(every_s, MAINTAIN_EVERY_S) if queue == MAINTAIN else every_s

"""The reconciler's clock: looks for work whose doorbell was lost, with or without Redis."""

import random
import threading
from collections.abc import Callable, Sequence
from functools import partial

import structlog

from core.clock import now_us
from core.errors import kind_of
from core.pipeline.doorbell import MAINTAIN
from core.pipeline.patience import Patience
from core.runtime import Runtime

log = structlog.get_logger()

MAINTAIN_EVERY_S = 10.0


class Watch:
    """One thread for each queue that this worker serves; a long drain of one does not delay another."""

    def __init__(self, runtime: Runtime, queues: Sequence[str], every_s: float, rng: random.Random) -> None:
        self._runtime = runtime
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(
                target=self._run,
                args=(queue, MAINTAIN_EVERY_S if queue == MAINTAIN else every_s, Patience(now_us, rng)),
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
        companies: list[str] = []  # as last listed

        def list_companies() -> None:
            companies[:] = self._runtime.control.company_ids()

        while True:
            if queue == MAINTAIN:
                self._try("departures", patience, self._runtime.finish_departures)
            self._try("companies", patience, list_companies)
            for company in companies:
                if not self._stop.is_set():
                    self._try(company, patience, partial(self._runtime.catch_up, queue, company))
            if self._stop.wait(every_s):
                return

    @staticmethod
    def _try(subject: str, patience: Patience, work: Callable[[], None]) -> None:
        """Do work that did not fail a moment ago. One company's faults are no other's, and the watch outlives all."""
        if not patience.allows(subject):
            return
        try:
            work()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is tried again
            again_in_s = patience.failed(subject)
            log.error("catch_up_failed", subject=subject, error=kind_of(error), again_in_s=again_in_s)
        else:
            patience.succeeded(subject)

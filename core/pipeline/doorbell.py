"""The doorbell: telling workers that there is work, without saying what.

A ring carries a queue name and a company id. It may be lost, doubled or late: the record store is the ledger, and
the reconciler rings again. Rings are made by one thread, so that a write never waits for Redis, and rings for the
same queue and company that gather meanwhile become one.
"""

import threading
import time
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from contextlib import nullcontext
from typing import Final

import structlog

from core.observing.tracing import Tracer
from core.records.tables import Lane

EMBED: Final = "embed"
EMBED_BULK: Final = "embed-bulk"
INDEX: Final = "index"
MAINTAIN: Final = "maintain"
QUEUES: Final = (EMBED, EMBED_BULK, INDEX, MAINTAIN)
_EMBED_OF: Final = {Lane.INTERACTIVE: EMBED, Lane.BULK: EMBED_BULK}
TASK_NAMES: Final = {queue: f"ostraka.{queue}" for queue in QUEUES}

_SETTLE_S: Final = 0.05  # a ring costs a millisecond of CPU; under load one serves all writes of this time

Publish = Callable[[str, str], None]

log = structlog.get_logger()


class Doorbell:
    """Publishes rings in the background. ``ring`` never blocks and never fails."""

    def __init__(self, publish: Publish, tracer: Tracer | None = None) -> None:
        """``publish(queue, company)`` sends one message, or raises at once when Redis is away."""
        self._publish = publish
        self._tracer = tracer or Tracer()
        self._wanted: dict[tuple[str, str], str | None] = {}  # and the place in a trace of who wanted it first
        self._condition = threading.Condition()
        self._closed = False
        self.failures = 0
        self._thread = threading.Thread(target=self._run, name="doorbell", daemon=True)
        self._thread.start()

    def ring(self, queue: str, company: str) -> None:
        """Ask for a ring soon."""
        with self._condition:
            self._wanted.setdefault((queue, company), self._tracer.current())
            self._condition.notify()

    def ring_lanes(self, company: str, lanes: AbstractSet[Lane], embedded: bool = False) -> None:
        """Ring for what a company wrote: memories to embed in ``lanes``, and some that are embedded already."""
        for lane in lanes:
            self.ring(_EMBED_OF[lane], company)
        if embedded:
            self.ring(INDEX, company)

    def close(self) -> None:
        """Ring what was asked for and stop."""
        with self._condition:
            self._closed = True
            self._condition.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._wanted or self._closed)
                if not self._wanted:
                    return
                wanted, self._wanted = self._wanted, {}
            for (queue, company), place in wanted.items():
                with self._tracer.span("ring", parent=place, queue=queue, company=company) if place else nullcontext():
                    self._ring(queue, company)
            time.sleep(_SETTLE_S)

    def _ring(self, queue: str, company: str) -> None:
        try:
            self._publish(queue, company)
        except Exception as error:  # noqa: BLE001 - whatever the transport raises, the ledger has the work
            self.failures += 1
            log.warning("doorbell_failed", queue=queue, error=type(error).__name__)

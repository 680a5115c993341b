"""The reconciler's clock: looks for work whose doorbell was lost, with or without Redis."""

import threading
from collections.abc import Callable, Sequence

import structlog

from core.errors import OstrakaError
from core.pipeline.doorbell import MAINTAIN
from core.runtime import Runtime

log = structlog.get_logger()

MAINTAIN_EVERY_S = 10.0


class Watch:
    """One thread for each queue that this worker serves; a long drain of one does not delay another."""

    def __init__(self, runtime: Runtime, queues: Sequence[str], every_s: float) -> None:
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(
                target=self._run,
                args=(lambda queue=queue: runtime.catch_up(queue), MAINTAIN_EVERY_S if queue == MAINTAIN else every_s),
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
        """Stop looking; work under way is finished first."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self, catch_up: Callable[[], None], every_s: float) -> None:
        while True:
            try:
                catch_up()
            except OstrakaError as error:
                log.error("catch_up_failed", code=error.reason)
            except Exception as error:  # noqa: BLE001 - the watch outlives any fault; the next look tries again
                log.error("catch_up_failed", error=type(error).__name__)
            if self._stop.wait(every_s):
                return

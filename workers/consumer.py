"""Celery's consumer with a pulse: its loop turns, or it tries to reach a Redis that is away."""

from collections.abc import Callable
from typing import Any, Final

from celery.worker.consumer import Consumer

BEAT_EVERY_S: Final = 1.0


class BeatingConsumer(Consumer):  # type: ignore[misc] # Celery ships no types
    """Calls ``beat`` from the thread that consumes: once a second, and at each try to connect."""

    def __init__(self, *args: Any, beat: Callable[[], None], **kwargs: Any) -> None:
        self._beat = beat
        super().__init__(*args, **kwargs)

    def register_with_event_loop(self, hub: Any) -> None:
        """Beat as long as the loop turns; Celery ends the timer with the connection."""
        super().register_with_event_loop(hub)
        hub.timer.call_repeatedly(BEAT_EVERY_S, self._beat)

    def ensure_connected(self, conn: Any) -> Any:
        """Connect, however long it takes; Celery calls back each second meanwhile."""
        connect = conn.ensure_connection

        def beating(on_error: Callable[..., None], retries: int | None, *, callback: Callable[[], None]) -> Any:
            def come_round() -> None:
                self._beat()
                callback()

            return connect(on_error, retries, callback=come_round)

        conn.ensure_connection = beating
        return super().ensure_connected(conn)

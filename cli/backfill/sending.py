"""Sending chunks, several at a time, with all the patience that a full, frozen or restarting server asks for."""

import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from typing import Final

from ostraka import AddedMany, InvalidRequest, Ostraka, OstrakaError, Overloaded, Rejected, ServerError, Unreachable

from cli.backfill.chunks import Chunk
from cli.backfill.journal import Answered, Journal
from cli.backfill.tally import Tally

_BACKOFF_S: Final = 0.5  # before the second try at a server that does not answer; doubled for each further one
_BACKOFF_S_MAX: Final = 30.0
_PASSING: Final = frozenset({502, 503, 504})
_NOTHING: Final = "nothing_accepted"


class Sender:
    """Sends chunks in flight side by side, but those that share an id or a session one after the other.

    So versions of a memory, and the memories of a session, are accepted in the order of their rows.
    """

    def __init__(
        self,
        client: Ostraka,
        journal: Journal,
        tally: Tally,
        *,
        in_flight: int,
        patience_s: float,
        full: Callable[[], None],
    ) -> None:
        """``patience_s``: how long a server may not answer at all; ``full()`` is told that it asks to wait."""
        self._client = client
        self._journal = journal
        self._tally = tally
        self._in_flight = in_flight
        self._patience_s = patience_s
        self._full = full
        self._stop = threading.Event()
        self._running: dict[Future[AddedMany], Chunk] = {}
        self._pool = ThreadPoolExecutor(in_flight, thread_name_prefix="backfill")

    def send(self, chunk: Chunk) -> None:
        """Have a chunk sent, waiting for room; one that was answered before is only counted.

        Raises what ended an earlier one: ``OstrakaError`` of the client.
        """
        if answered := self._journal.answered.get(chunk.key):
            self._tally.answered(answered.accepted, before=True)
            self._tally.reject_before(answered.rejected)
            return
        while len(self._running) == self._in_flight or any(
            chunk.touches & other.touches for other in self._running.values()
        ):
            self._collect()
        self._running[self._pool.submit(self._deliver, chunk)] = chunk

    def finish(self) -> None:
        """Wait until all that was sent is answered. Raises ``OstrakaError`` of the client."""
        while self._running:
            self._collect()

    def close(self) -> None:
        """Begin nothing more; what is on its way is waited for, and noted where it was answered."""
        self._stop.set()
        while self._running:
            with suppress(OstrakaError):
                self._collect()
        self._pool.shutdown()

    def _collect(self) -> None:
        done, _ = wait(self._running, return_when=FIRST_COMPLETED)
        failed: BaseException | None = None
        for future in done:
            chunk = self._running.pop(future)
            error = future.exception()
            if error is None:
                self._note(chunk, future.result())
            failed = failed or error
        if failed is not None:
            raise failed

    def _note(self, chunk: Chunk, added: AddedMany) -> None:
        self._journal.note(chunk.key, Answered(added.accepted, len(added.rejected)))
        self._tally.answered(added.accepted, before=added.replayed > 0)
        for rejected in added.rejected:
            row = chunk.rows[rejected.line - 1]
            self._tally.reject(row.source, row.number, rejected.code, rejected.detail)

    def _deliver(self, chunk: Chunk) -> AddedMany:
        """Send a chunk until it is answered."""
        lines = [row.line for row in chunk.rows]
        silent_since: float | None = None
        tried = 0
        last: OstrakaError
        while True:
            try:
                return self._client.add_lines(lines, idempotency_key=chunk.key)
            except Overloaded as error:  # it lives, and says when: there is no end to our patience
                silent_since, tried, pause_s, last = None, 0, error.retry_after_s, error
                self._full()
            except (ServerError, Unreachable) as error:
                now = time.monotonic()
                silent_since = silent_since if silent_since is not None else now
                passing = isinstance(error, Unreachable) or error.status in _PASSING
                if not passing or now - silent_since >= self._patience_s:
                    raise
                asked_s = error.retry_after_s if isinstance(error, ServerError) else None
                pause_s, last = asked_s or _backoff_s(tried), error
                tried += 1
            except InvalidRequest as error:
                if error.code != _NOTHING:
                    raise
                refused = (Rejected(line, _NOTHING, error.detail) for line in range(1, len(lines) + 1))
                return AddedMany((), 0, tuple(refused))
            if self._stop.wait(pause_s):
                raise last


def _backoff_s(tried: int) -> float:
    spread: float = random.uniform(0.5, 1.5)  # noqa: S311 - spreads load, guards nothing
    doubled: float = _BACKOFF_S * 2 ** min(tried, 10)
    return min(_BACKOFF_S_MAX, doubled) * spread

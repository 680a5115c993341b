"""Group commit: concurrent writes share one transaction and one fsync.

A durable commit costs milliseconds however little it holds. While one is under way, requests gather; the next
commit takes them all. A request that makes the shared transaction fail is found by committing each alone, so it
fails alone.
"""

import threading
import time
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import Future
from functools import partial
from queue import Empty, SimpleQueue
from typing import NamedTuple

from core import limits
from core.clock import Clock
from core.errors import Busy, KeyUnusable, OstrakaError, Unavailable
from core.observing.observer import Observer
from core.records.engine import Database, again
from core.records.tables import Lane
from core.records.writes import Accepted, WriteRequest, commit_writes

_QUEUE_REQUESTS_MAX = 10_000
_LINGER_S = 0.002  # at most, for the clients that the last commit answered to write again
_LINKS_MAX = 32


class Waiting(NamedTuple):
    """A request, who waits for it, and its place in a trace."""

    request: WriteRequest
    future: Future[Accepted]
    place: str | None


class GroupCommitter:
    """One thread that commits what arrives. ``submit`` is safe from any thread."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        on_commit: Callable[[AbstractSet[Lane], bool], None],
        observer: Observer | None = None,
    ) -> None:
        """``on_commit(lanes, embedded)`` is called after each commit.

        ``lanes`` got memories to embed; ``embedded`` says that some brought their vectors, to be indexed at once.
        """
        self._database = database
        self._clock = clock
        self._on_commit = on_commit
        self._observer = observer or Observer()
        self._closed = False
        self._closing = threading.Lock()  # nothing may be put behind the mark that ends the queue
        self._waiting: SimpleQueue[Waiting | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="group-commit", daemon=True)
        self._thread.start()

    def submit(self, request: WriteRequest) -> Future[Accepted]:
        """Return a future that holds the answer once the request is durable, or the error that refused it.

        Raises ``Unavailable`` once the committer is closed, ``Busy`` when too many wait.
        """
        future: Future[Accepted] = Future()
        future.set_running_or_notify_cancel()  # what may be committed any moment can no longer be cancelled
        with self._closing:
            if self._closed:
                raise Unavailable("the server is stopping; send the write again", code="stopping")
            if self._waiting.qsize() >= _QUEUE_REQUESTS_MAX:
                raise Busy("too many writes are waiting for the disk; send them again, slower", code="store_busy")
            self._waiting.put(Waiting(request, future, self._observer.tracer.current()))
        return future

    def close(self) -> None:
        """Commit what was submitted and stop; whoever submits from now on is refused."""
        with self._closing:
            self._closed = True
        self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        held: Waiting | None = None
        company = 0  # requests of the last commit: a lone client waits for none
        while True:
            first = held or self._waiting.get()
            if first is None:
                return
            batch, held, stop = self._gather(first, company)
            company = len(batch)
            self._commit(batch)
            if stop:
                return

    def _gather(self, first: Waiting, expected: int) -> tuple[list[Waiting], Waiting | None, bool]:
        """Return what waits, up to the bound on rows; the request that did not fit; whether to stop.

        ``expected`` requests are waited for, for a moment.
        """
        batch, rows = [first], len(first.request.items)
        until = time.monotonic() + _LINGER_S
        while True:
            try:
                pair = self._next(until if len(batch) < expected else 0)
            except Empty:
                return batch, None, False
            if pair is None:
                return batch, None, True
            rows += len(pair.request.items)
            if rows > limits.GROUP_COMMIT_ROWS_MAX:
                return batch, pair, False
            batch.append(pair)

    def _next(self, until: float) -> Waiting | None:
        """Return the next in the queue, waiting for it until then. Raises ``Empty``."""
        left_s = until - time.monotonic()
        return self._waiting.get(timeout=left_s) if left_s > 0 else self._waiting.get_nowait()

    def _commit(self, batch: Sequence[Waiting]) -> None:
        places = [each.place for each in batch if each.place]
        with self._observer.tracer.span(
            "group-commit", parent=places[0] if places else None, links=places[1:_LINKS_MAX], requests=len(batch)
        ):
            self._commit_together(batch)

    def _commit_together(self, batch: Sequence[Waiting]) -> None:
        requests = [each.request for each in batch]
        try:
            answers = again(partial(self._accept, requests))
        except OstrakaError as error:
            if len(batch) > 1 and _is_ones_own(error):
                for pair in batch:
                    self._commit([pair])
                return
            for each in batch:
                each.future.set_exception(error)
        except BaseException as error:  # noqa: BLE001 - every waiting request must hear of it
            for each in batch:
                each.future.set_exception(error)
        else:
            self._observer.committed(len(batch))
            lanes = {each.lane for each in requests if any(item.embedding is None for item in each.items)}
            self._on_commit(lanes, any(item.embedding is not None for each in requests for item in each.items))
            for waiting, answer in zip(batch, answers, strict=True):
                waiting.future.set_result(answer)

    def _accept(self, requests: Sequence[WriteRequest]) -> list[Accepted]:
        with self._observer.stage("commit"), self._database.write() as connection:
            return commit_writes(connection, requests, self._clock())


def _is_ones_own(error: OstrakaError) -> bool:
    """Say whether one request may be at fault, or the key of its namespace; else it is the store, for every one."""
    return isinstance(error, KeyUnusable) or not isinstance(error, Unavailable)

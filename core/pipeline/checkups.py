"""Looking after the server for whoever asks how it is: rarely, in threads of its own, and never for long.

Probes come as often as they like and from everywhere, without a key. They share one look a second, and a part that
hangs hangs a thread that serves nothing else.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Final, Generic, TypeVar

from core.pipeline.readiness import Examiner, Facts, Reason, judge
from core.records.control import ControlStore
from core.settings import Settings

_TRUST_S: Final = 1.0
_PATIENCE_S: Final = 3.0

T = TypeVar("T")


@dataclass(frozen=True)
class Checkup:
    """What is wrong, and whether there are API keys."""

    reasons: Sequence[Reason]
    has_api_keys: bool


class Checkups:
    """The latest checkup of a process."""

    def __init__(self, control: ControlStore, settings: Settings, ping_redis: Callable[[], bool]) -> None:
        """``ping_redis()`` says whether Redis answers; it need not be quick."""
        self._stalled_s = settings.queue.stalled_s
        self._free_bytes_min = settings.storage.free_bytes_min
        self._redis = _Question(ping_redis, otherwise=False)
        self._stores = _Question(Examiner(control).examine, otherwise=Facts(store_answers=False))
        self._asking = asyncio.Lock()
        self._blobs = _Question(control.depot.answers, otherwise=False)
        self._latest: tuple[float, Checkup] | None = None

    @property
    def seen(self) -> Checkup | None:
        """The last checkup that was made, however long ago."""
        return self._latest[1] if self._latest else None

    async def latest(self) -> Checkup:
        """Return a checkup of the last second, made now if there is none."""
        async with self._asking:
            if self._latest is None or time.monotonic() >= self._latest[0] + _TRUST_S:
                made = await self._make()
                self._latest = time.monotonic(), made  # from its end: those who waited for a slow one share it
            return self._latest[1]

    async def _make(self) -> Checkup:
        facts, redis_answers, blobs_answer = await asyncio.gather(
            self._stores.ask(), self._redis.ask(), self._blobs.ask()
        )
        reasons = judge(
            replace(facts, blobs_answer=blobs_answer),
            redis_answers=redis_answers,
            stalled_s=self._stalled_s,
            free_bytes_min=self._free_bytes_min,
        )
        return Checkup(reasons, facts.has_api_keys)


class _Question(Generic[T]):
    """A question that may hang: it is asked by a thread of its own, and again only once that one has come back."""

    def __init__(self, put: Callable[[], T], otherwise: T) -> None:
        self._put = put
        self._otherwise = otherwise
        self._pending: Future[T] | None = None

    async def ask(self) -> T:
        """Return the answer, or ``otherwise`` when there is none in time."""
        if self._pending is None or self._pending.done():
            self._pending = Future()
            threading.Thread(target=self._answer, args=(self._pending,), name="checkup", daemon=True).start()
        try:
            return await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(self._pending)), _PATIENCE_S)
        except TimeoutError:
            return self._otherwise

    def _answer(self, pending: Future[T]) -> None:
        try:
            pending.set_result(self._put())
        except BaseException as error:  # noqa: BLE001 - it belongs to whoever waits
            pending.set_exception(error)

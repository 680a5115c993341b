"""Admission: how much may be on its way at once, so that a flood of writes meets a clear word and not a full disk.

The bounds are those of one company and lane: a backfill that fills its own never keeps an agent waiting. What is on its
way is read from the record store at most twice a second; in between this process adds what it lets in. So several API
processes can together go beyond a bound by what they let in during half a second.
"""

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from core.errors import Busy, DiskFull, TooLarge
from core.records.backlog import Load, lane_loads
from core.records.engine import Database
from core.records.tables import Lane, State

_MEASURE_EVERY_S: Final = 0.5
_MEASURE_SHARE: Final = 0.05  # of the time; a deep backlog takes longer to count, so it is counted less often
_DRAIN_OVER_S: Final = 30.0  # bulk rows leave a shard at a time: over less, often none would
_RETRY_S_MIN: Final = 1.0
_RETRY_S_MAX: Final = 60.0
_DISK_RETRY_S: Final = 30.0


def refusal(waiting: Load, wanted: Load, bound: Load, drain: Load) -> Busy | TooLarge:
    """Return what to tell a caller whose write does not fit; ``drain`` is what leaves in a second.

    What is more than the whole bound would be told to come back for ever, so it is told to be smaller.
    """
    if wanted.exceeds(bound):
        return TooLarge(
            f"one call may carry {bound.rows:,.0f} memories of {bound.bytes:,.0f} bytes in all ([queue] depth_max, "
            "bytes_max); send several calls"
        )
    return Busy(
        "too many memories wait to be indexed; send it again later",
        code="queue_full",
        retry_after_s=retry_after_s(waiting + wanted - bound, drain),
    )


def retry_after_s(excess: Load, drain: Load) -> float:
    """Return the seconds after which the excess will have left, as things go: 1 to 60."""
    needed = [
        most / rate if rate > 0 else math.inf
        for most, rate in ((excess.rows, drain.rows), (excess.bytes, drain.bytes))
        if most > 0
    ]
    return min(max(_RETRY_S_MIN, *needed), _RETRY_S_MAX)


class _LaneLoad:
    """What is known of one lane."""

    def __init__(self) -> None:
        self.stored = Load()  # on its way when the store was last asked
        self.committed = Load()  # let in by this process since then
        self.in_flight = Load()  # let in by this process, not yet committed
        self._left = Load()  # that this process has seen leave
        self._history: deque[tuple[float, Load]] = deque()  # of the above, by time

    @property
    def waiting(self) -> Load:
        return self.stored + self.committed + self.in_flight

    @property
    def drain(self) -> Load:
        """What leaves in a second, over the last half minute."""
        (begun, before), (now, after) = self._history[0], self._history[-1]
        left, elapsed_s = after - before, now - begun
        return Load(max(0.0, left.rows) / elapsed_s, max(0.0, left.bytes) / elapsed_s) if elapsed_s else Load()

    def remeasure(self, stored: Load, committed_before: Load, now: float) -> None:
        """Take over what the store says; ``committed_before`` is what had been committed when it was asked."""
        if self._history:
            self._left += self.stored + committed_before - stored
        self._history.append((now, self._left))
        while len(self._history) > 2 and self._history[1][0] <= now - _DRAIN_OVER_S:
            self._history.popleft()
        self.stored = stored
        self.committed -= committed_before


class Admission:
    """Decides for one company which writes may come in. To decide takes microseconds; only ``measure`` reads."""

    def __init__(
        self,
        database: Database,
        bound: Load,
        free_bytes: Callable[[], int],
        free_bytes_min: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``bound`` is that of each lane; ``free_bytes()`` is what the disk has left."""
        self._database = database
        self._bound = bound
        self._free_bytes = free_bytes
        self._free_bytes_min = free_bytes_min
        self._clock = clock
        self._deciding = threading.Lock()
        self._measuring = threading.Lock()
        self._lanes = {lane: _LaneLoad() for lane in Lane}
        self._disk_full = False
        self._due_at: float | None = None

    @property
    def due(self) -> bool:
        """Whether the caller should ``measure`` first: nobody has yet, or it is time and nobody is at it."""
        return self._due_at is None or (self._clock() >= self._due_at and not self._measuring.locked())

    def measure(self) -> None:
        """Ask the record store what is on its way, and the disk what is free. Raises ``Unavailable``."""
        with self._measuring:
            begun = self._clock()
            if self._due_at is not None and begun < self._due_at:
                return  # somebody has just done it
            with self._deciding:
                before = {lane: load.committed for lane, load in self._lanes.items()}
            with self._database.read() as connection:
                stored = lane_loads(connection, State.PENDING, State.EMBEDDED)
            disk_full = self._free_bytes() < self._free_bytes_min
            now = self._clock()
            with self._deciding:
                for lane, load in self._lanes.items():
                    load.remeasure(stored[lane], before[lane], begun)
                self._disk_full = disk_full
                self._due_at = now + max(_MEASURE_EVERY_S, (now - begun) / _MEASURE_SHARE)

    @contextmanager
    def admitted(self, lane: Lane, rows: int, content_bytes: int) -> Iterator[None]:
        """Let a write in, and count it as on its way when the block ends well.

        Raises ``DiskFull``, ``Busy`` when the lane is full, ``TooLarge`` when it could never take that much.
        """
        wanted = Load(rows, content_bytes)
        load = self._lanes[lane]
        with self._deciding:
            if self._disk_full:
                raise DiskFull(
                    "the disk is nearly full: nothing is taken in, searches and deletes go on",
                    retry_after_s=_DISK_RETRY_S,
                )
            if (load.waiting + wanted).exceeds(self._bound):
                raise refusal(load.waiting, wanted, self._bound, load.drain)
            load.in_flight += wanted
        written = Load()
        try:
            yield
            written = wanted
        finally:
            with self._deciding:
                load.in_flight -= wanted
                load.committed += written

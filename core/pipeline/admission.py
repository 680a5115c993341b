"""Admission: how much may be on its way at once, so that a flood of writes meets a clear word and not a full disk.

The bounds are those of one company and lane: a backfill that fills its own never keeps an agent waiting. What is on its
way is read from the record store at most twice a second; in between this process adds what it lets in. So several API
processes can together go beyond a bound by what they let in during half a second.

A company's quota is admitted by the same way of counting, over everything it keeps.
"""

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from core.errors import Busy, DiskFull, OverQuota, TooLarge
from core.records.backlog import Load, lane_loads
from core.records.engine import Database
from core.records.tables import Lane, State
from core.records.terms import Terms
from core.records.usage import read_usage

_MEASURE_EVERY_S: Final = 0.5
_MEASURE_SHARE: Final = 0.05  # of the time; a deep backlog takes longer to count, so it is counted less often
_DRAIN_OVER_S: Final = 30.0  # bulk rows leave a shard at a time: over less, often none would
_RETRY_S_MIN: Final = 1.0
_RETRY_S_MAX: Final = 60.0
_DISK_RETRY_S: Final = 30.0
UNBOUNDED: Final = Load(math.inf, math.inf)


def quota_of(terms: Terms) -> Load:
    """Return the most that a company may keep."""
    rows, size = terms.memories_max, terms.bytes_max
    return Load(math.inf if rows is None else rows, math.inf if size is None else size)


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


class _Known:
    """What is known of an amount: what the store said, and what this process has added since."""

    def __init__(self) -> None:
        self.stored = Load()  # when the store was last asked
        self.committed = Load()  # let in by this process since then
        self.in_flight = Load()  # let in by this process, not yet committed

    @property
    def total(self) -> Load:
        return self.stored + self.committed + self.in_flight

    def replace(self, stored: Load, committed_before: Load) -> None:
        """Take over what the store says; ``committed_before`` is what had been committed when it was asked."""
        self.stored = stored
        self.committed -= committed_before


class _LaneLoad(_Known):
    """What is known to be on its way in one lane."""

    def __init__(self) -> None:
        super().__init__()
        self._left = Load()  # that this process has seen leave
        self._history: deque[tuple[float, Load]] = deque()  # of the above, by time

    @property
    def drain(self) -> Load:
        """What leaves in a second, over the last half minute."""
        (begun, before), (now, after) = self._history[0], self._history[-1]
        left, elapsed_s = after - before, now - begun
        return Load(max(0.0, left.rows) / elapsed_s, max(0.0, left.bytes) / elapsed_s) if elapsed_s else Load()

    def remeasure(self, stored: Load, committed_before: Load, now: float) -> None:
        """Take over what the store says, as :meth:`replace` does, and note what has left."""
        if self._history:
            self._left += self.stored + committed_before - stored
        self._history.append((now, self._left))
        while len(self._history) > 2 and self._history[1][0] <= now - _DRAIN_OVER_S:
            self._history.popleft()
        self.replace(stored, committed_before)


class Admission:
    """Decides for one company which writes may come in. To decide takes microseconds; only ``measure`` reads."""

    def __init__(
        self,
        database: Database,
        bound: Load,
        free_bytes: Callable[[], int],
        free_bytes_min: int,
        quota: Callable[[], Load],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``bound`` is of each lane, ``quota()`` of all that is kept; ``free_bytes()`` is what the disk has left."""
        self._database = database
        self._bound = bound
        self._free_bytes = free_bytes
        self._free_bytes_min = free_bytes_min
        self._ask_quota = quota
        self._clock = clock
        self._deciding = threading.Lock()
        self._measuring = threading.Lock()
        self._lanes = {lane: _LaneLoad() for lane in Lane}
        self._kept = _Known()
        self._quota = UNBOUNDED
        self.over_quota = 0  # writes refused for it by this process
        self._disk_full = False
        self._due_at: float | None = None

    @property
    def due(self) -> bool:
        """Whether the caller should ``measure`` first: nobody has yet, or it is time and nobody is at it."""
        return self._due_at is None or (self._clock() >= self._due_at and not self._measuring.locked())

    def measure(self) -> None:
        """Ask the record store what is on its way and kept, and the disk what is free.

        Raises ``Unavailable``; ``NotFound``, ``IntegrityError`` when the quota is not to be had.
        """
        with self._measuring:
            begun = self._clock()
            if self._due_at is not None and begun < self._due_at:
                return  # somebody has just done it
            with self._deciding:
                before = {lane: load.committed for lane, load in self._lanes.items()}
                kept_before = self._kept.committed
            quota = self._ask_quota()
            with self._database.read() as connection:
                stored = lane_loads(connection, State.PENDING, State.EMBEDDED)
                kept = Load() if quota == UNBOUNDED else read_usage(connection)
            disk_full = self._free_bytes() < self._free_bytes_min
            now = self._clock()
            with self._deciding:
                for lane, load in self._lanes.items():
                    load.remeasure(stored[lane], before[lane], begun)
                self._kept.replace(kept, kept_before)
                self._quota = quota
                self._disk_full = disk_full
                self._due_at = now + max(_MEASURE_EVERY_S, (now - begun) / _MEASURE_SHARE)

    @contextmanager
    def admitted(self, lane: Lane, rows: int, stored_bytes: int) -> Iterator[None]:
        """Let a write in, and count it as on its way when the block ends well.

        ``stored_bytes`` is counted as the store does. Raises ``DiskFull``, ``OverQuota``, ``Busy`` when the lane is
        full, ``TooLarge`` when it could never take that much.
        """
        wanted = Load(rows, stored_bytes)
        load = self._lanes[lane]
        with self._deciding:
            if self._disk_full:
                raise DiskFull(
                    "the disk is nearly full: nothing is taken in, searches and deletes go on",
                    retry_after_s=_DISK_RETRY_S,
                )
            if (self._kept.total + wanted).exceeds(self._quota):
                self.over_quota += 1
                raise OverQuota(
                    f"the company may keep {self._quota.rows:,.0f} memories of {self._quota.bytes:,.0f} bytes; delete "
                    "what is not needed, or ask the operator for more"
                )
            if (load.total + wanted).exceeds(self._bound):
                raise refusal(load.total, wanted, self._bound, load.drain)
            for known in (load, self._kept):
                known.in_flight += wanted
        written = wanted  # also when nobody waits for the end any more: it may be committed all the same
        try:
            yield
        except Exception:
            written = Load()
            raise
        finally:
            with self._deciding:
                for known in (load, self._kept):
                    known.in_flight -= wanted
                    known.committed += written

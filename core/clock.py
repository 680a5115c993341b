"""Time as Ostraka stores it: microseconds since the Unix epoch, UTC, in a 64-bit integer."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

Clock = Callable[[], int]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def now_us() -> int:
    """Return the wall clock in microseconds; the default ``Clock``."""
    return time.time_ns() // 1_000


def to_us(moment: datetime) -> int:
    """Return an aware datetime as microseconds since the epoch (exact, unlike ``timestamp()``)."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def to_datetime(us: int) -> datetime:
    """Return microseconds since the epoch as an aware UTC datetime."""
    return _EPOCH + timedelta(microseconds=us)

"""Rates: how often something may happen, counted in this process.

The generic cell rate algorithm: of each name only one number is kept, the time at which what it used would be paid off.
A second's worth may come at once, then they come at the rate.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from cachetools import LRUCache

from core.errors import Busy

# Of draft-ietf-httpapi-ratelimit-headers-06, which most clients know; later drafts fold them into one.
RATE_FIELDS: Final = ("RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset")


@dataclass(frozen=True)
class Verdict:
    """Whether one more is within the rate; how many are left, and in how many seconds all of them are again."""

    allowed: bool
    burst: int
    remaining: int
    reset_s: float
    retry_after_s: float

    def headers(self) -> dict[str, str]:
        """Return what the answer says of it, in whole seconds."""
        values = (self.burst, self.remaining, math.ceil(self.reset_s))
        return {field: str(value) for field, value in zip(RATE_FIELDS, values, strict=True)}


class Rates:
    """What each name has used lately. The least lately used are forgotten beyond ``names_max``."""

    def __init__(self, names_max: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._paid_off: LRUCache[str, float] = LRUCache(names_max)

    def take(self, name: str, per_s: float, burst: int) -> Verdict:
        """Use one, if the rate allows it; ``burst`` may come at once."""
        now = self._clock()
        debt_s = max(0.0, self._paid_off.get(name, now) - now)
        room = burst - debt_s * per_s
        if room < 1:
            return Verdict(False, burst, 0, debt_s, (1 - room) / per_s)
        self._paid_off[name] = now + debt_s + 1 / per_s
        return Verdict(True, burst, int(room - 1), debt_s + 1 / per_s, 0.0)


class RateLimited(Busy):
    """A key is at its rate; the verdict says when to come back."""

    code = "rate_limited"

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(
            "this key, or all of its company, calls more often than it may; slow down",
            retry_after_s=verdict.retry_after_s,
        )
        self.verdict = verdict

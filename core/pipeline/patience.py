"""Which work has failed, and when it may be tried again: bounded, with jitter, so that a lasting fault costs little."""

import random
from typing import Final

from core.clock import Clock
from core.pipeline.backoff import backoff_s

_BASE_S: Final = 2.0
_CAP_S: Final = 300.0


class Patience:
    """The failures of one process. A restart begins anew."""

    def __init__(self, clock: Clock, rng: random.Random) -> None:
        self._clock = clock
        self._rng = rng
        self._failed: dict[str, tuple[int, int]] = {}  # how often in a row, and not before when again

    def allows(self, work: str) -> bool:
        """Say whether work may be tried now."""
        _, again_at = self._failed.get(work, (0, 0))
        return not 0 < again_at - self._clock() <= _CAP_S * 1e6  # farther away: the clock was set back

    def failed(self, work: str) -> float:
        """Note a failure; return the seconds until the next try."""
        failures = self._failed.get(work, (0, 0))[0] + 1
        wait_s = backoff_s(failures, base_s=_BASE_S, cap_s=_CAP_S, rng=self._rng)
        self._failed[work] = (failures, self._clock() + int(wait_s * 1e6))
        return wait_s

    def succeeded(self, work: str) -> None:
        """Forget the failures of work."""
        self._failed.pop(work, None)

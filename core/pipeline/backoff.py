"""How long to wait before trying again."""

import random
from typing import Final

_DOUBLINGS_MAX: Final = 30


def backoff_s(failures: int, *, base_s: float, cap_s: float, rng: random.Random) -> float:
    """Return the seconds to wait after so many failures: anything up to a bound that doubles, so that nobody meets.

    The randomness spreads load and guards nothing; it is passed in so that a test can choose it.
    """
    return rng.uniform(0.0, min(cap_s, base_s * 2.0 ** min(max(failures - 1, 0), _DOUBLINGS_MAX)))

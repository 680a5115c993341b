"""Signs of life: the threads of a worker that must come round, and when each last did.

They are stamped by the loops themselves. A process that answers a probe may have a consumer that waits for ever, or a
drain that hangs in the graph of a model; what did not come round for long is what it hangs in.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass
class _Loop:
    name: str
    silent_s_max: float
    beaten_at: float


class Pulse:
    """When each watched thread last came round, on a clock that does not jump."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._loops: dict[int, _Loop] = {}

    @contextmanager
    def watched(self, name: str, silent_s_max: float) -> Iterator[None]:
        """Watch the calling thread for a block of work, in which it must beat at least every ``silent_s_max``."""
        thread = threading.get_ident()
        self._loops[thread] = _Loop(name, silent_s_max, self._clock())
        try:
            yield
        finally:
            del self._loops[thread]

    def beat(self) -> None:
        """Note that the calling thread came round; one that nobody watches is let pass."""
        if loop := self._loops.get(threading.get_ident()):
            loop.beaten_at = self._clock()

    def silent_s(self) -> dict[str, float]:
        """Return for how long each loop has been silent; of threads with one name, the longest."""
        return self._silent(lambda _: True)

    def stuck(self) -> dict[str, float]:
        """Return the loops that are silent for longer than they may be, and for how long."""
        return self._silent(lambda loop: self._clock() - loop.beaten_at > loop.silent_s_max)

    def _silent(self, chosen: Callable[[_Loop], bool]) -> dict[str, float]:
        now = self._clock()
        found: dict[str, float] = {}
        for loop in list(self._loops.values()):
            if chosen(loop):
                found[loop.name] = max(found.get(loop.name, 0.0), now - loop.beaten_at)
        return found

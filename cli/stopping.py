"""Being told to stop, at any moment of a start."""

import signal
from collections.abc import Callable
from typing import Any


class StopSignals:
    """Makes SIGTERM and Ctrl-C an orderly end with status 0; uvicorn, which has its own, raises them again at its end.

    The end is an exception, and one that is raised while a destructor runs goes nowhere: so it is noted, too.
    """

    def __init__(self) -> None:
        self._told = False
        self._stop: Callable[[], None] = lambda: None
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._leave)

    def heed(self) -> None:
        """End the process if it was told to."""
        if self._told:
            raise SystemExit(0)

    def then(self, stop: Callable[[], None]) -> None:
        """Call ``stop`` when told; end the process if it was told before."""
        self._stop = stop
        self.heed()

    def _leave(self, _signal: int, _frame: Any) -> None:
        self._told = True
        self._stop()
        raise SystemExit(0)

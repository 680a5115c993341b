"""One drain at a time for each kind of work in a process; rings that come meanwhile make it look once more."""

import threading
from collections.abc import Callable, Hashable


class Gate:
    """Runs a drain unless one is running for the same key, which is then told to go round again."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._again: dict[Hashable, bool] = {}

    def run(self, key: Hashable, drain: Callable[[], object]) -> None:
        """Run ``drain`` until nobody asked again while it ran; return at once if another thread is at it."""
        with self._lock:
            if key in self._again:
                self._again[key] = True
                return
            self._again[key] = False
        try:
            while True:
                drain()
                with self._lock:
                    if not self._again[key]:
                        del self._again[key]
                        return
                    self._again[key] = False
        except BaseException:
            with self._lock:
                self._again.pop(key, None)
            raise

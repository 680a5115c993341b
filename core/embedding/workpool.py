"""Sharing a list of independent pieces of work among threads."""

from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")


class WorkPool:
    """Threads that take items from a common list one at a time, so that all end at nearly the same time."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="embed")

    def each(self, items: Iterable[Item], work: Callable[[Item], None]) -> None:
        """Do ``work`` on every item, in no set order, and return when all is done.

        The first exception of ``work`` is raised, and items not yet begun are dropped. Raises
        ``RuntimeError`` after ``close``.
        """
        waiting = deque(items)

        def drain() -> None:
            while waiting:
                try:
                    item = waiting.popleft()
                except IndexError:  # another thread took the last one in between
                    return
                work(item)

        futures = [self._executor.submit(drain) for _ in range(min(self._threads, len(waiting)))]
        try:
            for future in futures:
                future.result()
        finally:
            waiting.clear()

    def close(self) -> None:
        """Let running work end and free the threads."""
        self._executor.shutdown()

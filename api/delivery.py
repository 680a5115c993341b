"""Bringing results from a worker thread to the event loop, many at one wake-up."""

import asyncio
from collections import deque
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")


class Delivery:
    """Awaits futures that another thread completes in groups.

    ``asyncio.wrap_future`` wakes the loop once for each of them; after a group commit that is dozens of wake-ups,
    each a system call and a fight for the interpreter. Here the first one of a group wakes the loop for all.
    """

    def __init__(self) -> None:
        self._arrived: deque[tuple[asyncio.Future[Any], Future[Any]]] = deque()

    async def wait(self, future: Future[T]) -> T:
        """Return the future's result, or raise its error."""
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[T] = loop.create_future()

        def arrive(done: Future[T]) -> None:
            self._arrived.append((waiter, done))
            if len(self._arrived) == 1:
                loop.call_soon_threadsafe(self._deliver)

        future.add_done_callback(arrive)
        return await waiter

    def _deliver(self) -> None:
        while self._arrived:
            waiter, done = self._arrived[0]
            if not waiter.done():  # the caller may have gone away
                error = done.exception()
                if error is None:
                    waiter.set_result(done.result())
                else:
                    waiter.set_exception(error)
            self._arrived.popleft()

"""The asynchronous client: performs the same plans, awaiting. Runs on asyncio."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Concatenate, ParamSpec, Self, TypeVar

import httpx

from ostraka import bulk, calls, deadletter, waiting
from ostraka.answers import Memory
from ostraka.methods import describe_method
from ostraka.plans import Outcome, Plan, Request
from ostraka.wire import DEFAULT_TIMEOUT_S, DEFAULT_URL, Wire

_P = ParamSpec("_P")
_T = TypeVar("_T")


def _method(describe: Callable[_P, Plan[_T]]) -> "Callable[Concatenate[AsyncOstraka, _P], Awaitable[_T]]":
    """Return a coroutine method that performs a plan."""

    async def perform(client: "AsyncOstraka", /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        return await client._perform(describe(*args, **kwargs))  # noqa: SLF001 - it becomes a method of the class

    describe_method(perform, describe)
    return perform


class AsyncOstraka:
    """An asynchronous client of one Ostraka server; use it as an asynchronous context manager.

    The arguments are those of ``Ostraka``.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        api_key: str | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._wire = Wire(url, api_key, timeout_s)
        self._transport = httpx.AsyncHTTPTransport() if transport is None else transport

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._transport.aclose()

    add = _method(calls.add)
    add_many = _method(bulk.add_many)
    add_lines = _method(bulk.add_lines)
    search = _method(calls.search)
    get = _method(calls.get)
    update = _method(calls.update)
    delete = _method(calls.delete)
    delete_where = _method(calls.delete_where)
    deletion = _method(calls.deletion)
    history = _method(calls.history)
    job = _method(calls.job)
    wait = _method(waiting.wait)
    failures = _method(deadletter.failures)
    retry_failures = _method(deadletter.retry_failures)
    discard_failures = _method(deadletter.discard_failures)
    namespaces = _method(calls.namespaces)
    namespace = _method(calls.namespace)
    create_namespace = _method(calls.create_namespace)
    delete_namespace = _method(calls.delete_namespace)
    health = _method(calls.health)
    list_page = _method(calls.list_page)

    async def list(self, namespace: str, *, session: str | None = None, page_size: int = 100) -> AsyncIterator[Memory]:
        """Yield the present memories, in order of acceptance, a page at a time. Raises ``NotFound``."""
        cursor: str | None = None
        while True:
            page = await self.list_page(namespace, session=session, limit=page_size, cursor=cursor)
            for memory in page.memories:
                yield memory
            cursor = page.next_cursor
            if cursor is None:
                return

    async def _perform(self, plan: Plan[_T]) -> _T:
        outcome: Outcome = None
        while True:
            try:
                step = plan.send(outcome)
            except StopIteration as end:
                result: _T = end.value
                return result
            if isinstance(step, Request):
                outcome = await self._exchange(step)
            else:
                await asyncio.sleep(step.seconds)
                outcome = None

    async def _exchange(self, step: Request) -> Outcome:
        try:
            response = await self._transport.handle_async_request(self._wire.build(step))
            try:
                await response.aread()
            finally:
                await response.aclose()
        except httpx.TransportError as error:
            return error
        return response

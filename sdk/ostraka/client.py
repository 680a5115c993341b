"""The blocking client: performs the plans of ``ostraka.calls`` with a plain loop."""

import time
from collections.abc import Callable, Iterator
from typing import Concatenate, ParamSpec, Self, TypeVar

import httpx

from ostraka import bulk, calls, deadletter, waiting
from ostraka.answers import Memory
from ostraka.methods import describe_method
from ostraka.plans import Outcome, Plan, Request
from ostraka.wire import DEFAULT_TIMEOUT_S, DEFAULT_URL, Wire

_P = ParamSpec("_P")
_T = TypeVar("_T")


def _method(describe: Callable[_P, Plan[_T]]) -> "Callable[Concatenate[Ostraka, _P], _T]":
    """Return a method that performs a plan."""

    def perform(client: "Ostraka", /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        return client._perform(describe(*args, **kwargs))  # noqa: SLF001 - it becomes a method of the class

    describe_method(perform, describe)
    return perform


class Ostraka:
    """A client of one Ostraka server; use it as a context manager, from as many threads as you like.

    ``timeout_s`` bounds each wait for the server: to connect, to send, to hear. ``transport`` replaces the way to the
    server, for a proxy or certificates of your own.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        api_key: str | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        *,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._wire = Wire(url, api_key, timeout_s)
        self._transport = httpx.HTTPTransport() if transport is None else transport

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

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

    def list(self, namespace: str, *, session: str | None = None, page_size: int = 100) -> Iterator[Memory]:
        """Yield the present memories, in order of acceptance, a page at a time. Raises ``NotFound``."""
        cursor: str | None = None
        while True:
            page = self.list_page(namespace, session=session, limit=page_size, cursor=cursor)
            yield from page.memories
            cursor = page.next_cursor
            if cursor is None:
                return

    def _perform(self, plan: Plan[_T]) -> _T:
        outcome: Outcome = None
        while True:
            try:
                step = plan.send(outcome)
            except StopIteration as end:
                result: _T = end.value
                return result
            if isinstance(step, Request):
                outcome = self._exchange(step)
            else:
                time.sleep(step.seconds)
                outcome = None

    def _exchange(self, step: Request) -> Outcome:
        try:
            response = self._transport.handle_request(self._wire.build(step))
            try:
                response.read()
            finally:
                response.close()
        except httpx.TransportError as error:
            return error
        return response

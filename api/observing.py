"""What is noted of every request: its id, its time, how it was answered, and a span where spans are wanted."""

import time
from collections.abc import Mapping
from typing import Any, Final

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bind_contextvars

from api.metrics import Metrics
from api.requestids import HEADER, request_id_of, set_request_id
from core.observing.tracing import Tracer, Value, trace_named

log = structlog.get_logger()

_UNROUTED: Final = "none"  # a path that is no route is not ours to name


class Observed:
    """The outermost layer: it gives each request its id, and notes route, status and time. Nothing that it brought."""

    def __init__(self, app: ASGIApp, metrics: Metrics, tracer: Tracer, *, logs_each: bool) -> None:
        self._app = app
        self._metrics = metrics
        self._tracer = tracer
        self._logs_each = logs_each

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and note how it went."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        known: dict[str, Any] = scope.setdefault("state", {})  # what the layers inside tell, whatever scope they see
        request_id = request_id_of(scope["headers"])
        set_request_id(request_id)  # not taken back: what answers for a crash comes later, in the same task
        status, started = 500, time.perf_counter()

        async def named(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (HEADER.encode(), request_id.encode())]
            await send(message)

        with self._tracer.span("request", parent=_parent(scope), request_id=request_id):
            bind_contextvars(**trace_named(self._tracer))
            try:
                await self._app(scope, receive, named)
            finally:
                self._note(scope["method"], known, status, time.perf_counter() - started)

    def _note(self, method: str, known: Mapping[str, Any], status: int, took_s: float) -> None:
        route: str = known.get("route", _UNROUTED)
        self._metrics.observe_request(method, route, status, took_s)
        job: dict[str, Value] = {"job_id": known["job_id"]} if "job_id" in known else {}
        self._tracer.note(method=method, route=route, status=status, **job)
        if self._logs_each:  # to ask the logger costs more than all the rest
            log.debug("request", method=method, route=route, status=status, took_s=took_s, **job)


def _parent(scope: Scope) -> str | None:
    given = next((value for name, value in scope["headers"] if name == b"traceparent"), None)
    return given.decode("latin-1") if given else None

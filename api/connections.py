"""Connections: how much may be sent, and how long it may take, before there is a request to answer.

uvicorn bounds neither. What it passes on as a request is bounded by ``api/heads.py`` and ``api/bodies.py``.
"""

import asyncio
from typing import Any, Final

from starlette.responses import Response
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from api.problems import problem
from core import limits

_LOOK_S: Final = 2.0  # between looks at a connection's clock: one timer for each connection, none for each request
_UNREAD_BYTES_MAX: Final = limits.URL_BYTES_MAX + limits.HEADERS_BYTES_MAX


class BoundedConnection(HttpToolsProtocol):
    """One connection. What is beyond a bound gets a problem document where an answer is possible yet, and is closed."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._unread_bytes = 0  # received since the parser last passed on a head or a piece of a body
        self._begun_s: float | None = None  # when the request that is arriving began; None between requests
        self._head_arrived = False
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as in uvicorn
        """Take the connection, if there is room for one more."""
        super().connection_made(transport)
        self._begun_s = self.loop.time()
        self._timer = self.loop.call_later(_LOOK_S, self._look)
        if len(self.connections) > limits.CONNECTIONS_MAX:
            self._refuse(problem(503, "too_many_connections", "too many connections are open; come back later"))

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what arrived. A head, a trailer, a chunk's extension that does not end is not kept for long."""
        if self.transport.is_closing():
            return
        if self._begun_s is None:
            self._begun_s = self.loop.time()
        self._unread_bytes += len(data)
        super().data_received(data)
        if self._unread_bytes > _UNREAD_BYTES_MAX:
            self._refuse(problem(431, "head_too_large", f"the request's head is larger than {_UNREAD_BYTES_MAX} bytes"))

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._head_arrived = False
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Take a piece of the URL."""
        super().on_url(url)
        if len(self.url) > limits.URL_BYTES_MAX:
            detail = f"the URL is longer than {limits.URL_BYTES_MAX} bytes; send a body instead"
            self._refuse(problem(414, "url_too_long", detail))
            raise ValueError(detail)  # so that the parser stops

    def on_headers_complete(self) -> None:
        """Pass the head on. Fields that come behind the body, as trailers do, are no part of it."""
        self._unread_bytes = 0
        self._head_arrived = True
        super().on_headers_complete()
        self.headers = []

    def on_body(self, body: bytes) -> None:
        """Pass a piece of the body on."""
        self._unread_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End a request: from here it may take as long as its answer does."""
        self._unread_bytes = 0
        self._begun_s = None
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - the signature is uvicorn's
        """Answer what is not HTTP."""
        self._refuse(problem(400, "malformed_request", "this is not an HTTP/1.1 request; correct it"))

    def _look(self) -> None:
        """Close the connection when what is arriving takes too long."""
        self._timer = self.loop.call_later(_LOOK_S, self._look)
        if self._begun_s is None or self.transport.is_closing():
            return
        waited_s = self.loop.time() - self._begun_s
        if not self._head_arrived:
            if waited_s > limits.HEAD_S_MAX:
                self._refuse(problem(408, "too_slow", f"the head took longer than {limits.HEAD_S_MAX} s to arrive"))
        elif waited_s > (limits.HEAD_S_MAX if self.cycle.response_complete else limits.BULK_BODY_S_MAX):
            self.transport.close()  # who was answered, and still sends, is not listened to for ever

    def _refuse(self, answer: Response) -> None:
        """Answer, where no other answer has begun, and close."""
        if self.transport.is_closing():
            return
        cycle: RequestResponseCycle | None = self.cycle  # none before the first head
        if cycle is None or cycle.response_complete or not cycle.response_started:
            answer.headers["connection"] = "close"
            fields = b"".join(name + b": " + value + b"\r\n" for name, value in answer.raw_headers)
            self.transport.write(STATUS_LINE[answer.status_code] + fields + b"\r\n" + bytes(answer.body))
        self.transport.close()

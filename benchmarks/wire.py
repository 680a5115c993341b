"""A small HTTP/1.1 client over kept-alive connections, so that the client's own cost stays out of the figures.

It knows what our server answers and no more: a status line, headers with a content length, a body.
"""

import asyncio
from dataclasses import dataclass
from typing import Any, Final, cast

import orjson

_HEADERS_END: Final = b"\r\n\r\n"
_REPLY_S: Final = 120.0  # far beyond anything measured here: a server that hangs ends the run


class ServerRefusedError(Exception):
    """The server answered with an error status."""


@dataclass(frozen=True)
class Reply:
    """A status with its body."""

    status: int
    body: bytes

    def json(self) -> Any:
        """Return the body parsed."""
        return orjson.loads(self.body)


class Connection(asyncio.Protocol):
    """One connection with one request at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()
        self._waiting: asyncio.Future[Reply] | None = None

    async def send(self, request: bytes) -> Reply:
        """Send a request and return its reply. Raises ``ServerRefusedError`` from status 400 on."""
        if self._transport is None or self._transport.is_closing():
            raise ConnectionError("the connection is closed")
        self._waiting = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        reply = await self._waiting
        if reply.status >= 400:
            raise ServerRefusedError(f"{reply.status}: {reply.body[:500].decode(errors='replace')}")
        return reply

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own class derives from nothing of asyncio's

    def data_received(self, data: bytes) -> None:
        """Gather until a whole reply is there."""
        self._received += data
        reply = parse_reply(self._received)
        if reply is not None and self._waiting is not None and not self._waiting.done():
            self._received.clear()
            self._waiting.set_result(reply)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever waits."""
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(exc or ConnectionError("the server hung up before it answered"))


class Client:
    """Builds requests for one server and opens connections to it."""

    def __init__(self, host: str, port: int, key: str) -> None:
        self.key = key
        self.url = f"http://{host}:{port}"
        self._host = host
        self._port = port
        self._headers = f"host: {host}:{port}\r\nauthorization: Bearer {key}\r\n"

    def build(self, method: str, path: str, body: bytes = b"", content_type: str = "application/json") -> bytes:
        """Return the bytes of a request."""
        described = f"content-type: {content_type}\r\ncontent-length: {len(body)}\r\n" if body else ""
        return f"{method} {path} HTTP/1.1\r\n{self._headers}{described}\r\n".encode() + body

    async def connect(self) -> Connection:
        """Open a connection."""
        _, connection = await asyncio.get_running_loop().create_connection(Connection, self._host, self._port)
        return connection

    async def call(self, method: str, path: str, body: Any = None) -> Any:
        """Make one request on a connection of its own and return the parsed body."""
        return await self.call_raw(self.build(method, path, b"" if body is None else orjson.dumps(body)))

    async def call_raw(self, request: bytes) -> Any:
        """Send a built request on a connection of its own and return the parsed body."""
        connection = await self.connect()
        try:
            return (await asyncio.wait_for(connection.send(request), _REPLY_S)).json()
        finally:
            connection.close()


def parse_reply(received: bytes | bytearray) -> Reply | None:
    """Return the reply at the beginning of the bytes, or ``None`` while it is incomplete."""
    end = received.find(_HEADERS_END)
    if end < 0:
        return None
    head = bytes(received[:end]).lower()
    length = 0
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name == b"content-length":
            length = int(value)
    start = end + len(_HEADERS_END)
    if len(received) < start + length:
        return None
    return Reply(int(head.split(b" ", 2)[1]), bytes(received[start : start + length]))

"""Connections on a real socket: what is too much or too slow is answered where it can be, and closed."""

import json
import socket
import threading
from collections.abc import Callable, Iterator

import pytest
import uvicorn
from starlette.requests import Request
from starlette.responses import PlainTextResponse

from api.bodies import BodyLimit
from api.connections import BoundedConnection
from api.heads import HeadLimit
from core import limits

FIELDS = b"GET / HTTP/1.1\r\nHost: x\r\n"
# Just beyond what is read without understanding it: more would still be on its way when the server closes.
ENDLESS = limits.URL_BYTES_MAX + limits.HEADERS_BYTES_MAX + 100
POST = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


async def echo(scope, receive, send):
    """Answer with the size of the body and the number of fields."""
    request = Request(scope, receive)
    if scope["path"] == "/unread":
        await PlainTextResponse("no", 401)(scope, receive, send)
        return
    size = len(await request.body())
    await PlainTextResponse(f"{size} {len(request.headers)}")(scope, receive, send)


@pytest.fixture
def connect(monkeypatch) -> Iterator[Callable[[], socket.socket]]:
    """Open connections to a server whose times are short and whose connections are few."""
    for name, value in {"HEAD_S_MAX": 1, "BODY_S_MAX": 2, "CONNECTIONS_MAX": 3}.items():
        monkeypatch.setattr(limits, name, value)
    monkeypatch.setattr("api.connections._LOOK_S", 0.1)
    listener = socket.create_server(("127.0.0.1", 0))
    app = HeadLimit(BodyLimit(echo))
    server = uvicorn.Server(uvicorn.Config(app, http=BoundedConnection, log_config=None, lifespan="off"))
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    opened = []

    def connection() -> socket.socket:
        opened.append(socket.create_connection(listener.getsockname(), timeout=60))
        return opened[-1]

    yield connection
    for each in opened:
        each.close()
    server.should_exit = True
    thread.join()


def answer(connection: socket.socket) -> tuple[int, str]:
    """Read until the server closes; return the status and, of a problem, its code."""
    raw = b""
    while piece := connection.recv(65_536):
        raw += piece
    head, _, body = raw.partition(b"\r\n\r\n")
    status = int(head.split()[1])
    return status, json.loads(body)["code"] if b"application/problem+json" in head else body.decode()


def test_a_request_is_answered_and_the_connection_stays(connect):
    connection = connect()
    for _ in range(2):
        connection.sendall(FIELDS + b"\r\n")
        assert connection.recv(65_536).endswith(b"0 1")
    connection.sendall(FIELDS + b"Connection: close\r\n\r\n")
    assert answer(connection) == (200, "0 2")


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (b"nonsense\r\n\r\n", (400, "malformed_request")),
        (b"\x16\x03\x01\x02\x00\x01", (400, "malformed_request")),  # TLS spoken to a server without
        (FIELDS + b"Content-Length: -1\r\n\r\n", (400, "malformed_request")),
        (FIELDS + b"Content-Length: " + b"9" * 5_000 + b"\r\n\r\n", (400, "malformed_request")),
        (FIELDS + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n", (400, "malformed_request")),
        (FIELDS + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", (400, "malformed_request")),
        (FIELDS + b"a b: 1\r\n\r\n", (400, "malformed_request")),
        (FIELDS + b"x: a\0b\r\n\r\n", (400, "malformed_request")),
        (POST + b"zz\r\n", (400, "malformed_request")),
        (b"GET /" + b"a" * limits.URL_BYTES_MAX, (414, "url_too_long")),
        (FIELDS + b"x: " + b"a" * ENDLESS, (431, "head_too_large")),
        (FIELDS + b"x: 1\r\n" * (ENDLESS // 6), (431, "head_too_large")),
    ],
    ids=lambda value: repr(value[:40]) if isinstance(value, bytes) else value[1],
)
def test_what_is_no_request_is_refused_and_closed(connect, sent, expected):
    connection = connect()
    connection.sendall(sent)
    assert answer(connection) == expected


@pytest.mark.parametrize("begun", [b"1\r\na\r\n0\r\nx: ", b"1;x=", b"1\r\na\r\n0\r\n" + b"x: 1\r\n" * 50_000])
def test_a_body_that_goes_on_with_what_is_no_body_is_closed(connect, begun):
    connection = connect()
    with pytest.raises(ConnectionError):
        connection.sendall(POST + begun + b"a" * 64_000_000)


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (b"GET / HTTP/1.1\r\n" + b"x: 1\r\n" * (limits.HEADERS_MAX + 1), (431, "head_too_large")),
        (FIELDS + b"x: " + b"a" * limits.HEADERS_BYTES_MAX + b"\r\n", (431, "head_too_large")),
        (b"GET /?" + b"a" * limits.URL_BYTES_MAX + b" HTTP/1.1\r\nHost: x\r\n", (414, "url_too_long")),
        (b"GET /?" + b"a&" * limits.PARAMETERS_MAX + b" HTTP/1.1\r\nHost: x\r\n", (414, "url_too_long")),
        (FIELDS + b"Content-Encoding: gzip\r\n", (415, "encoded_body")),
        (FIELDS + b"Content-Length: 99999999999\r\n", (413, "too_large")),
    ],
    ids=lambda value: repr(value[:40]) if isinstance(value, bytes) else value[1],
)
def test_a_head_beyond_a_limit_is_refused(connect, sent, expected):
    connection = connect()
    connection.sendall(sent + b"Connection: close\r\n\r\n")
    assert answer(connection) == expected


def test_trailers_are_no_fields_of_the_request(connect):
    connection = connect()
    connection.sendall(
        POST.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n") + b"1\r\na\r\n0\r\nx-forwarded-for: 1\r\n\r\n"
    )
    assert answer(connection) == (200, "1 3")


def test_a_head_that_never_ends_is_given_up(connect):
    connection = connect()
    connection.sendall(FIELDS)
    assert answer(connection) == (408, "too_slow")


def test_a_connection_that_says_nothing_is_closed(connect):
    assert answer(connect()) == (408, "too_slow")


def test_a_body_that_never_ends_is_given_up(connect):
    connection = connect()
    connection.sendall(POST + b"1\r\na\r\n")
    assert answer(connection) == (408, "too_slow")


def test_who_was_answered_and_goes_on_sending_is_closed(connect):
    connection = connect()
    connection.sendall(POST.replace(b"/", b"/unread", 1) + b"1\r\na\r\n")
    assert answer(connection) == (401, "no")


def test_more_connections_than_the_limit_are_turned_away(connect):
    held = [connect() for _ in range(limits.CONNECTIONS_MAX)]
    for connection in held:
        connection.sendall(FIELDS + b"\r\n")
        assert connection.recv(65_536)
    assert answer(connect()) == (503, "too_many_connections")
    held.pop().close()
    held[0].sendall(FIELDS + b"\r\n")
    assert held[0].recv(65_536)

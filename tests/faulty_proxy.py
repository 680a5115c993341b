"""An HTTP proxy in front of a real server that misbehaves on demand: refuses, hangs, cuts bodies, drops connections.

It counts what passes, so that a test can also say what was not asked.
"""

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_UPSTREAM_S = 60.0
_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length"}


class Fault(StrEnum):
    """What happens to a request."""

    SERVER_ERROR = "500"  # never reaches the server
    SLOW_DOWN = "503"
    FORBIDDEN = "403"
    RESET = "the connection breaks before the server has the request"
    LOST_ANSWER = "the server does it, and the connection breaks before its answer"
    CUT = "the body breaks off half-way"
    STALL = "the body stands still half-way"
    HANG = "no answer comes"
    SHORT = "the body is shorter than it should be, and looks whole"


@dataclass
class _Plan:
    fault: Fault
    left: int  # requests that it still strikes
    concerns: Callable[[str, str], bool]


@dataclass
class Request:
    """One request as it came."""

    method: str
    path: str


@dataclass
class FaultyProxy:
    """The proxy: ``url`` is where it listens, ``requests`` what came."""

    url: str
    requests: list[Request] = field(default_factory=list)
    _plans: list[_Plan] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _let_go: threading.Event = field(default_factory=threading.Event)

    def break_(self, fault: Fault, times: int = 1, concerns: Callable[[str, str], bool] = lambda *_: True) -> None:
        """Let a fault strike the next ``times`` requests whose method and path it concerns."""
        with self._lock:
            self._plans.append(_Plan(fault, times, concerns))

    def mend(self) -> None:
        """Plan no more faults; whatever hangs is let go."""
        with self._lock:
            self._plans.clear()
            let_go, self._let_go = self._let_go, threading.Event()
        let_go.set()

    def count(self, method: str) -> int:
        return sum(request.method == method for request in self.requests)

    def arrived(self, method: str, path: str) -> Fault | None:
        """Note a request; return what is to happen to it."""
        with self._lock:
            self.requests.append(Request(method, path))
            for plan in self._plans:
                if plan.left and plan.concerns(method, path):
                    plan.left -= 1
                    return plan.fault
        return None

    def hold(self) -> None:
        """Wait until the faults are mended."""
        self._let_go.wait(_UPSTREAM_S)


@contextmanager
def faulty_proxy(upstream: str) -> Iterator[FaultyProxy]:
    """Yield a proxy in front of ``upstream`` (host:port)."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    proxy = FaultyProxy(f"http://127.0.0.1:{server.server_port}")
    server.daemon_threads = True
    server.RequestHandlerClass = type("Handler", (_Handler,), {"proxy": proxy, "upstream": upstream})
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.mend()
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy: FaultyProxy
    upstream: str

    def handle(self) -> None:
        with suppress(ConnectionError):  # the caller went away, as it may
            super().handle()

    def _pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        fault = self.proxy.arrived(self.command, self.path)
        match fault:
            case Fault.SERVER_ERROR | Fault.SLOW_DOWN | Fault.FORBIDDEN:
                self._answer(int(fault), {}, b"<Error><Code>Injected</Code></Error>")
                return
            case Fault.RESET:
                self._reset()
                return
            case Fault.HANG:
                self.proxy.hold()
                self.close_connection = True
                return
        status, headers, content = self._ask_upstream(body)
        if fault is Fault.LOST_ANSWER:
            self._reset()
        else:
            self._answer(status, headers, content, fault)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _pass_on  # noqa: N815 - the library's names

    def _ask_upstream(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        upstream = HTTPConnection(self.upstream, timeout=_UPSTREAM_S)
        try:
            upstream.request(self.command, self.path, body, dict(self.headers))
            response = upstream.getresponse()
            return response.status, dict(response.getheaders()), response.read()
        finally:
            upstream.close()

    def _answer(self, status: int, headers: dict[str, str], content: bytes, fault: Fault | None = None) -> None:
        if fault is Fault.SHORT and self.command != "HEAD":
            content, fault = content[: len(content) // 2], None
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() not in _HOP_BY_HOP:
                self.send_header(name, value)
        length = next((value for name, value in headers.items() if name.lower() == "content-length"), None)
        self.send_header("Content-Length", (length if self.command == "HEAD" else None) or str(len(content)))
        self.end_headers()
        if fault is None:
            self.wfile.write(content)
            return
        self.wfile.write(content[: len(content) // 2])
        self.wfile.flush()
        if fault is Fault.STALL:
            self.proxy.hold()
        self.close_connection = True

    def _reset(self) -> None:
        """Close so that the caller sees a reset, not an end."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True
        self.wfile = self.rfile = _Nowhere()  # type: ignore[assignment]


class _Nowhere:
    closed = True

    def flush(self) -> None: ...

    def close(self) -> None: ...

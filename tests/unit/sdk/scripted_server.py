"""A real HTTP server on a real socket that answers from a script, and remembers what it was asked."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MEMORY: dict[str, Any] = {
    "id": "mem_1",
    "content": "the text",
    "metadata": {"a": {"b": 1}},
    "session": None,
    "tags": ["x"],
    "importance": None,
    "occurred_at": "2026-03-14T18:30:00Z",
    "created_at": "2026-03-15T00:00:00.000001Z",
    "expires_at": None,
    "version": 1,
    "state": "indexed",
    "error": None,
    "closed_at": None,
}
ADDED: dict[str, Any] = {"id": "mem_1", "job_id": "job_1", "state": "pending"}
JOB: dict[str, Any] = {
    "id": "job_1",
    "namespace": "n",
    "state": "embedding",
    "accepted": 3,
    "embedded": 1,
    "indexed": 0,
    "failed": 0,
    "deleted": 0,
    "errors": [],
    "created_at": "2026-03-15T00:00:00Z",
    "finished_at": None,
}
JOB_DONE: dict[str, Any] = {
    **JOB,
    "state": "failed",
    "failed": 3,
    "errors": [{"code": "gone", "memories": 3}],
    "finished_at": "2026-03-15T00:00:01Z",
}
DELETED: dict[str, Any] = {"deletion_id": "del_1", "deleted": 2, "refused": 1}
DELETION: dict[str, Any] = {
    "id": "del_1",
    "namespace": None,
    "kind": "session",
    "state": "erased",
    "rows": 2,
    "created_at": "2026-03-15T00:00:00Z",
    "finished_at": "2026-03-15T00:00:00Z",
    "purge_due_at": "2026-03-15T01:00:00Z",
    "purged_at": None,
    "erased": [{"where": "record store", "what": "content", "at": "2026-03-15T00:00:00Z"}],
    "remains": [{"where": "backups", "until": None, "note": "sealed"}],
}
FOUND: dict[str, Any] = {"results": [], "took_ms": 1.5, "parts_ms": None}


def problem(code: str, detail: str = "what is wrong", **more: Any) -> dict[str, Any]:
    return {"type": "about:blank", "title": "t", "status": 0, "code": code, "detail": detail, "errors": [], **more}


@dataclass(frozen=True)
class Asked:
    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Reply:
    body: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    drop: bool = False  # close the connection instead of answering
    after_s: float = 0.0


@dataclass
class Script:
    url: str
    replies: list[Reply] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)

    def will(self, *replies: Reply) -> None:
        self.replies.extend(replies)


@contextmanager
def serve() -> Iterator[Script]:
    script = Script("")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            script.asked.append(Asked(self.command, self.path, headers, body))
            reply = script.replies.pop(0)
            time.sleep(reply.after_s)
            if reply.drop:
                self.close_connection = True
                return
            content = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            if reply.status != 204:
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if reply.status != 204:
                self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any  # noqa: N815 - the library's names

        def log_message(self, *_: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        script.url = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            yield script
        finally:
            server.shutdown()
            thread.join()

"""The health and metrics of a worker or scheduler over HTTP, for probes and Prometheus.

There is no key to it: it shows opaque ids, counts and times, and takes nothing in. It is off unless a port is set, and
belongs where only probes and Prometheus reach it.
"""

import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import structlog
import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from core.errors import ConfigurationError
from core.pipeline.checkups import Checkups
from core.settings import Worker
from workers.pulse import Pulse

log = structlog.get_logger()

_CONNECTIONS_MAX: Final = 64  # probes and scrapes come one by one
_KEEP_ALIVE_S: Final = 5
_GRACE_S: Final = 2


@contextmanager
def listening(settings: Worker, pulse: Pulse, checkups: Checkups, metrics: Callable[[], bytes]) -> Iterator[None]:
    """Answer probes and scrapes while a block runs, in a thread of its own; without a port, not at all.

    ``metrics()`` returns the text to expose. Raises ``ConfigurationError`` when the address cannot be had.
    """
    if not settings.port:
        yield
        return
    listener = _bind(settings)
    config = uvicorn.Config(
        create_listener(pulse, checkups, metrics),
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="off",
        limit_concurrency=_CONNECTIONS_MAX,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=_GRACE_S,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],), name="listener", daemon=True)
    thread.start()
    log.info("health_listening", host=settings.host, port=settings.port)
    try:
        yield
    finally:
        server.should_exit = True
        thread.join()


def create_listener(pulse: Pulse, checkups: Checkups, metrics: Callable[[], bytes]) -> Starlette:
    """Return the application that answers probes and scrapes."""

    async def live(_: Request) -> Response:
        stuck = pulse.stuck()
        if stuck:
            return _answer(503, "stuck", [f"{name}: silent for {seconds:.0f} s" for name, seconds in stuck.items()])
        return _answer(200, "alive")

    async def ready(_: Request) -> Response:
        wrong = [reason for reason in (await checkups.latest()).reasons if reason.unready]
        if wrong:
            return _answer(503, "unready", [f"{reason.code}: {reason.detail}" for reason in wrong])
        return _answer(200, "ready")

    async def scrape(_: Request) -> Response:
        await checkups.latest()  # the figures say what it found
        return Response(await run_in_threadpool(metrics), media_type=CONTENT_TYPE_LATEST)

    routes = [Route("/health/live", live), Route("/health/ready", ready), Route("/metrics", scrape)]
    return Starlette(routes=routes)


def _answer(status: int, word: str, problems: Sequence[str] = ()) -> Response:
    body: dict[str, Any] = {"status": word} | ({"problems": list(problems)} if problems else {})
    return JSONResponse(body, status)


def _bind(settings: Worker) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in settings.host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
        listener.listen()  # before we say so
    except OSError as error:
        listener.close()
        raise ConfigurationError(
            f"[worker] port: cannot listen on {settings.host}:{settings.port}: {error.strerror}; choose another"
        ) from None
    return listener

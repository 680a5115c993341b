"""Running the API, alone or as the embedded server with its worker and private Redis."""

import gc
import os
import signal
import socket
import sys
import threading
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Final

import structlog
import uvicorn
from filelock import FileLock, Timeout

from api.addresses import is_loopback
from api.app import create_app
from api.connections import BoundedConnection
from api.roles import Role
from cli.private_redis import start_private_redis
from cli.stopping import StopSignals
from cli.supervisor import Supervisor
from cli.tls import Certificate
from core.durability import make_durable_directory
from core.errors import ConfigurationError
from core.observing.observer import Observer
from core.observing.tracing import open_tracer
from core.records.apikeys import has_keys, has_usable_key
from core.redisurl import redis_url_of
from core.runtime import Runtime
from core.settings import ENV_CONFIG, Settings
from core.shards.cache import ShardCache
from workers.app import create_celery, publisher
from workers.broker import ping

log = structlog.get_logger()

_GRACE_S: Final = 10
_BACKLOG: Final = 2_048
_GC_OBJECTS: Final = 10_000  # a request makes hundreds, none of them cyclic: look for cycles less often
# A commit makes ten short trips into SQLite; at each return it waits this long for the event loop to yield.
_SWITCH_INTERVAL_S: Final = 0.001
_HSTS: Final = ("strict-transport-security", "max-age=31536000")  # a year, as browsers' lists ask for
_WORKER_NICENESS: Final = "10"  # searches come before backfills where both share the cores


class _Server(uvicorn.Server):
    """uvicorn, which tells those who wait on a caller's behalf that it stops: they answer within its grace."""

    def __init__(self, config: uvicorn.Config, stopping: threading.Event) -> None:
        super().__init__(config)
        self._stopping = stopping

    def leave(self) -> None:
        """Stop, as on a signal."""
        self._stopping.set()
        self.should_exit = True

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Note a signal."""
        self._stopping.set()
        super().handle_exit(sig, frame)


def run_api(settings: Settings, secrets: Mapping[str, str], role: Role) -> None:
    """Serve the routes of a role until SIGTERM or SIGINT. Raises ``ConfigurationError``.

    ``secrets`` are variables that were taken out of the environment.
    """
    if not settings.queue.redis_url:
        raise ConfigurationError("[queue] redis_url: is not set; name the Redis that the workers use")
    _serve_api(settings, secrets, StopSignals(), role)


def _serve_api(settings: Settings, secrets: Mapping[str, str], stop: StopSignals, role: Role = Role.ALL) -> None:
    with ExitStack() as stack:
        certificate = _certificate(settings, stack)
        listener = stack.enter_context(_listen(settings))
        redis_url = redis_url_of(settings.queue)
        celery = create_celery(redis_url)
        embeds = role is not Role.NO_SEARCH
        tracer = open_tracer(settings.telemetry, "ostraka-query" if role is Role.QUERY else "ostraka-api")
        environment = {**os.environ, **secrets}
        runtime = Runtime(settings, publisher(celery, tracer), environment, Observer(tracer), embeds=embeds)
        stack.callback(runtime.close)
        runtime.refuse_other_models()
        anonymous = _anonymous_allowed(settings, runtime)
        app = create_app(runtime, anonymous_allowed=anonymous, ping_redis=partial(ping, redis_url), role=role)
        host, port = listener.getsockname()[:2]
        listener.listen(_BACKLOG)  # before we say so: a caller that reads the line may come at once
        scheme = "https" if certificate else "http"
        url = f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
        log.info("listening", url=url, docs=f"{url}/docs", role=role)
        gc.freeze()  # what start-up made lives for ever: collections need not walk it
        gc.set_threshold(_GC_OBJECTS, 20, 20)
        sys.setswitchinterval(_SWITCH_INTERVAL_S)
        config = uvicorn.Config(
            app,
            http=BoundedConnection,
            log_config=None,
            access_log=False,
            proxy_headers=False,  # api/proxies.py reads them, from the proxies that the settings name
            server_header=False,
            headers=[_HSTS] if certificate else None,
            ssl_context_factory=(lambda *_: certificate.context) if certificate else None,
            timeout_graceful_shutdown=_GRACE_S,
        )
        server = _Server(config, runtime.stopping)
        stop.then(server.leave)
        server.run(sockets=[listener])


def run_embedded(settings: Settings, secrets: Mapping[str, str]) -> None:
    """Serve everything from one command: private Redis, one worker process, the API. Raises ``ConfigurationError``.

    ``secrets`` are variables that were taken out of the environment; the worker gets them, Redis does not.
    """
    stop = StopSignals()
    run_directory = settings.storage.path.absolute() / "run"
    try:
        make_durable_directory(run_directory)
    except OSError as error:
        raise ConfigurationError(
            f"[storage] path: {settings.storage.path} cannot be used: {error.strerror}; choose another"
        ) from None
    with ExitStack() as stack:
        try:
            stack.enter_context(FileLock(run_directory / "serve.lock", timeout=0))
        except Timeout:
            raise ConfigurationError(
                f"[storage] path: another server runs on {settings.storage.path}; stop it or choose another directory"
            ) from None
        stack.callback(log.info, "stopped")
        stack.callback(_wipe_cache, settings)
        supervisor = Supervisor()
        stack.callback(supervisor.close)
        if not settings.queue.redis_url:
            url = start_private_redis(supervisor, run_directory)
            settings = settings.model_copy(update={"queue": settings.queue.model_copy(update={"redis_url": url})})
            stack.callback(_remove_socket, url)
        # The variables say everything; a settings file in the working directory must add nothing.
        runtime_environment = {
            **os.environ,
            **settings.as_environment(),
            ENV_CONFIG: os.devnull,
            "MALLOC_ARENA_MAX": "2",
        }
        command = [sys.executable, "-m", "cli.main", "worker", "--nice", _WORKER_NICENESS]
        stop.heed()
        supervisor.start("worker", command, runtime_environment, secrets)
        _serve_api(settings, secrets, stop)


def _anonymous_allowed(settings: Settings, runtime: Runtime) -> bool:
    """Decide whether calls without a key may come in; refuse to listen to the world without authentication."""
    server = settings.server
    local = is_loopback(server.host) and not server.trusted_proxies
    if not local and not has_usable_key(runtime.control):
        where = f"trusted_proxies: {server.trusted_proxies[0]}" if server.trusted_proxies else f"host: {server.host}"
        raise ConfigurationError(
            f"[server] {where} lets other machines in, and no API key can be used; "
            "run `ostraka keys create --company default --scope read,write` first, or listen on 127.0.0.1 alone"
        )
    if not local and not server.tls_cert and not server.trusted_proxies:
        log.warning("no_tls", meaning="keys and memories cross the network in the clear; see docs/tls.md")
    allowed = local and not settings.auth.require_key
    if allowed and not has_keys(runtime.control):
        log.warning("no_authentication", meaning="every program on this machine can read and write; see `ostraka keys`")
    return allowed


def _certificate(settings: Settings, stack: ExitStack) -> Certificate | None:
    """Return the certificate of a server that speaks TLS itself; SIGHUP makes it look at the files again."""
    server = settings.server
    if server.tls_cert is None or server.tls_key is None:
        return None
    certificate = Certificate(server.tls_cert, server.tls_key)
    stack.callback(certificate.close)
    signal.signal(signal.SIGHUP, certificate.renew)
    return certificate


def _listen(settings: Settings) -> socket.socket:
    host, port = settings.server.host, settings.server.port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise ConfigurationError(
            f"[server] port: cannot listen on {host}:{port}: {error.strerror}; choose another"
        ) from None
    return listener


def _wipe_cache(settings: Settings) -> None:
    """Leave nothing in the clear, also where a child ended before it could leave the cache itself."""
    cache = settings.cache
    with suppress(ConfigurationError):  # a cache that cannot be opened holds nothing
        ShardCache(cache.path, settings.storage.path.absolute(), cache.bytes_max, allow_disk=cache.allow_disk).close()


def _remove_socket(celery_url: str) -> None:
    path = Path(celery_url.removeprefix("redis+socket://"))
    path.unlink(missing_ok=True)
    if path.parent.name.startswith("ostraka-"):  # made for it, because the data directory's path is too long
        with suppress(OSError):
            path.parent.rmdir()

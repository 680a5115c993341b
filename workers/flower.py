"""Flower: a page of Celery's tasks, by name, with ids as their arguments. It looks and touches nothing.

It is run in this process, so that the broker's password stands in no command line. Flower leaves ``/metrics`` open
where it asks for a password everywhere else; here it asks there too. ``/healthcheck`` is open and says ``OK``.
"""

import os
import signal
from typing import Any, Final

import structlog
import tornado.web
from flower.app import Flower
from flower.options import options
from flower.urls import settings as pages
from flower.views.monitor import Metrics

from core.errors import ConfigurationError
from core.privacy import read_private
from core.redisurl import redis_url_of
from core.settings import Settings
from workers.app import create_celery
from workers.broker import refuse_wrong_credentials

log = structlog.get_logger()

_TASKS_MAX: Final = 10_000  # remembered, about 2 kB each


class GuardedMetrics(Metrics):  # type: ignore[misc] # Flower ships no types
    """Flower's metrics, for whom its other pages are open."""

    @tornado.web.authenticated
    async def get(self) -> None:
        """Answer as Flower does."""
        await super().get()


def run_flower(settings: Settings, *, loopback: bool) -> None:
    """Serve Flower until SIGTERM or SIGINT; ``loopback`` says that only this machine can reach its address.

    Raises ``ConfigurationError``.
    """
    if not settings.queue.redis_url:
        raise ConfigurationError("[queue] redis_url: is not set; name the Redis that the workers use")
    users = read_users(settings)
    if not users and not loopback:
        raise ConfigurationError(
            f"[flower] host: {settings.flower.host} lets other machines in, and [flower] users_file is not set; "
            "name a file with a user:password a line, or listen on 127.0.0.1"
        )
    redis_url = redis_url_of(settings.queue)
    refuse_wrong_credentials(redis_url)
    os.environ.pop("FLOWER_UNAUTHENTICATED_API", None)  # it would open the API to whoever comes
    options.address, options.port = settings.flower.host, settings.flower.port
    options.basic_auth = users
    options.read_only = True
    options.max_tasks = _TASKS_MAX
    options.tasks_columns = "name,args,state,received,runtime,worker,uuid"
    options.enable_events = False  # our workers send them unasked
    flower = Flower(capp=create_celery(redis_url), options=options, **pages)
    flower.add_handlers(r".*", [(r"/metrics", GuardedMetrics)])
    port = _bind(flower, settings)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: flower.io_loop.add_callback_from_signal(flower.stop))
    host = settings.flower.host
    log.info("listening", url=f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}")
    flower.start()


def read_users(settings: Settings) -> list[str]:
    """Return each ``user:password`` of the file in the settings; none where none is named.

    Raises ``ConfigurationError``, which names the setting and never a line of the file.
    """
    path = settings.flower.users_file
    if path is None:
        return []
    try:
        lines = read_private(path).decode().split("\n")
    except FileNotFoundError:
        raise ConfigurationError(f"[flower] users_file: there is no file {path}; write it") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"[flower] users_file: {path} is not UTF-8; correct it") from None
    users = [line.strip() for line in lines if line.strip()]
    if not users or not all(name and password for name, _, password in (user.partition(":") for user in users)):
        raise ConfigurationError(f"[flower] users_file: {path} must hold a user:password a line; correct it")
    if not all(user.isascii() for user in users):
        raise ConfigurationError(f"[flower] users_file: {path} must be ASCII, as Flower compares it; correct it")
    return users


def _bind(flower: Any, settings: Settings) -> int:
    try:
        return int(flower.start_http_server())
    except OSError as error:
        where = f"{settings.flower.host}:{settings.flower.port}"
        raise ConfigurationError(f"[flower] port: cannot listen on {where}: {error.strerror}; choose another") from None

"""The scheduler: a process that looks for forgotten work of every company and rings for it, and does none."""

import random
import signal
import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

import structlog
from prometheus_client import ProcessCollector, generate_latest

from core.errors import ConfigurationError
from core.observing.fleet import FleetFigures
from core.observing.process import HostFigures, ReadinessFigures
from core.pipeline.checkups import Checkups
from core.pipeline.doorbell import QUEUES, Doorbell
from core.pipeline.schedule import Schedule
from core.records.control import open_control
from core.redisurl import redis_url_of
from core.settings import Settings
from workers.app import create_celery, publisher
from workers.broker import connect, ping, refuse_wrong_credentials
from workers.listener import listening
from workers.metrics import LoopFigures, registry_of
from workers.pulse import Pulse
from workers.watch import Watch, period_s

log = structlog.get_logger()

_RINGS_WAITING_MAX: Final = 1_000  # of a queue: without workers they would pile up in Redis for ever
_SILENT_S: Final = 120.0  # a look takes milliseconds for each company


def run_scheduler(settings: Settings, environment: Mapping[str, str]) -> None:
    """Ring for what waits until SIGTERM or SIGINT. The environment may hold keys. Raises ``ConfigurationError``."""
    if not settings.queue.redis_url:
        raise ConfigurationError("[queue] redis_url: is not set; name the Redis that the workers use")
    redis_url = redis_url_of(settings.queue)
    refuse_wrong_credentials(redis_url)
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    pulse = Pulse()
    control = open_control(settings, environment)
    try:
        doorbell = Doorbell(bounded(publisher(create_celery(redis_url)), redis_url))
        every_s = settings.queue.reconcile_s
        schedule = Schedule(control, doorbell.ring, partial(period_s, every_s=every_s))
        rng = random.Random()  # noqa: S311 - spreads load
        watch = Watch(schedule, QUEUES, every_s, rng, pulse, _SILENT_S)
        checkups = Checkups(control, settings, partial(ping, redis_url))
        figures = registry_of(
            LoopFigures(pulse), FleetFigures(control), HostFigures(control.root, doorbell), ReadinessFigures(checkups)
        )
        ProcessCollector(registry=figures)
        try:
            with listening(settings.worker, pulse, checkups, partial(generate_latest, figures)):
                watch.start()
                log.info("scheduling", every_s=every_s)
                stopping.wait()
        finally:
            watch.stop()
            doorbell.close()
    finally:
        control.close()


def bounded(publish: Callable[[str, str], None], redis_url: str) -> Callable[[str, str], None]:
    """Return a publisher that drops rings for a queue in which a thousand wait: whoever takes those finds all."""

    def publish_if_heard(queue: str, company: str) -> None:
        with connect(redis_url) as client:
            waiting = int(client.llen(queue))
        if waiting < _RINGS_WAITING_MAX:
            publish(queue, company)
        else:
            log.warning("rings_unheard", queue=queue, waiting=waiting)

    return publish_if_heard

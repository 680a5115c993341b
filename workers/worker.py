"""A worker process: Celery's consumer on threads, the reconciler's watch beside it."""

import os
import random
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final

from celery.exceptions import SecurityWarning
from celery.signals import worker_shutting_down
from celery.worker import state
from prometheus_client import generate_latest

from core.errors import ConfigurationError
from core.observing.exposition import Exposition
from core.observing.observer import Observer
from core.observing.process import ReadinessFigures
from core.observing.tracing import open_tracer
from core.pipeline.checkups import Checkups
from core.pipeline.doorbell import EMBED, EMBED_BULK, MAINTAIN, QUEUES
from core.redisurl import redis_url_of
from core.runtime import Runtime
from core.settings import Settings
from workers.app import create_celery, publisher
from workers.broker import ping, refuse_wrong_credentials
from workers.consumer import BeatingConsumer
from workers.listener import listening
from workers.metrics import LoopFigures, registry_of
from workers.pulse import Pulse
from workers.tasks import register_tasks
from workers.watch import Looker, Watch

# A ring that finds a drain under way returns at once, so threads beyond one per queue only take such rings.
_THREADS = 2 * len(QUEUES)
# The model's threads come back for the next text every few milliseconds; a thread that builds a shard must let them in.
_SWITCH_INTERVAL_S = 0.0005
STOP_S: Final = 20.0  # less than the supervisor's patience
# A Redis that hangs holds the consumer up for as long as its socket waits, a few times over.
_CONSUMER_SILENT_S: Final = 120.0


def run_worker(settings: Settings, queues: Sequence[str], environment: Mapping[str, str]) -> None:
    """Serve queues until SIGTERM or SIGINT; claims under way are finished first. The environment may hold keys.

    Threads, not processes: the model is loaded once, and onnxruntime, hnswlib and tantivy leave the interpreter free.
    Raises ``ConfigurationError``.
    """
    if not settings.queue.redis_url:
        raise ConfigurationError("[queue] redis_url: is not set; name the Redis that the API uses")
    redis_url = redis_url_of(settings.queue)
    refuse_wrong_credentials(redis_url)
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    pulse = Pulse()
    app = create_celery(redis_url)
    app.conf.worker_consumer = partial(BeatingConsumer, beat=pulse.beat)
    tracer = open_tracer(settings.telemetry, "ostraka-worker")
    runtime = Runtime(
        settings,
        publisher(app, tracer),
        environment,
        Observer(tracer),
        embeds=embeds(queues),
        device=settings.embeddings.device,
        beat=pulse.beat,
    )

    def stop(**_: object) -> None:
        runtime.stopping.set()
        # Celery can wait for a Redis that is gone; claims that are cut off run out and are taken over.
        last_resort = threading.Timer(STOP_S, os._exit, (1,))
        last_resort.daemon = True
        last_resort.start()

    def leave(*_: object) -> None:
        stop()
        # Celery asks for it once it runs. An exception may be lost in a callback of the imports that still go on.
        state.should_stop = os.EX_OK

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, leave)  # until Celery puts its own in place: the watch begins to work before
    worker_shutting_down.connect(stop)
    # Celery warns of running as root because of pickled messages; we accept JSON only.
    warnings.filterwarnings("ignore", category=SecurityWarning)
    try:
        runtime.refuse_other_models()
        register_tasks(app, runtime, pulse)
        watch = _watch(runtime, queues, pulse)
        checkups = Checkups(runtime.control, settings, partial(ping, redis_url))
        try:
            with listening(settings.worker, pulse, checkups, _metrics_of(runtime, pulse, checkups)):
                watch.start()
                with pulse.watched("consumer", _CONSUMER_SILENT_S):
                    app.worker_main(_arguments(queues))
            if not runtime.stopping.is_set():  # Celery gave up by itself: whoever watches over us must start us again
                raise SystemExit(1)
        finally:
            watch.stop()
    finally:
        runtime.close()


class _Rest:
    """What is left to a worker that looks for no forgotten work: companies that leave, which no scheduler sees to."""

    def __init__(self, runtime: Runtime) -> None:
        self.control = runtime.control
        self.finish_departures = runtime.finish_departures

    def catch_up(self, queue: str, company_id: str) -> None:
        """Leave it to the scheduler's ring."""


def _watch(runtime: Runtime, queues: Sequence[str], pulse: Pulse) -> Watch:
    settings = runtime.settings
    looker: Looker = runtime
    if not settings.worker.watch:
        looker, queues = _Rest(runtime), [queue for queue in queues if queue == MAINTAIN]
    rng = random.Random()  # noqa: S311 - spreads load
    return Watch(looker, queues, settings.queue.reconcile_s, rng, pulse, settings.worker.hung_s)


def _metrics_of(runtime: Runtime, pulse: Pulse, checkups: Checkups) -> Callable[[], bytes]:
    exposition, loops = Exposition(runtime), registry_of(LoopFigures(pulse), ReadinessFigures(checkups))
    return lambda: exposition.of_worker() + bytes(generate_latest(loops))


def _arguments(queues: Sequence[str]) -> list[str]:
    return [
        "--quiet",
        "worker",
        "--pool=threads",
        f"--concurrency={_THREADS}",
        f"--queues={','.join(queues)}",
        "--loglevel=WARNING",
        "--without-gossip",
        "--without-mingle",
    ]


def embeds(queues: Sequence[str]) -> bool:
    """Say whether a worker of these queues needs the model; one that does not leaves a GPU to others."""
    return not {EMBED, EMBED_BULK}.isdisjoint(queues)

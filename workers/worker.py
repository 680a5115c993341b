"""A worker process: Celery's consumer on threads, the reconciler's watch beside it."""

import os
import random
import signal
import sys
import threading
import warnings
from collections.abc import Mapping, Sequence

from celery.exceptions import SecurityWarning
from celery.signals import worker_shutting_down

from core.errors import ConfigurationError
from core.pipeline.doorbell import QUEUES
from core.redisurl import redis_url_of
from core.runtime import Runtime
from core.settings import Settings
from workers.app import create_celery, publisher, refuse_wrong_credentials
from workers.tasks import register_tasks
from workers.watch import Watch

# A ring that finds a drain under way returns at once, so threads beyond one per queue only take such rings.
_THREADS = 2 * len(QUEUES)
# The model's threads come back for the next text every few milliseconds; a thread that builds a shard must let them in.
_SWITCH_INTERVAL_S = 0.0005
_STOP_S = 20.0  # less than the supervisor's patience


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
    app = create_celery(redis_url)
    runtime = Runtime(settings, publisher(app), environment)

    def stop(**_: object) -> None:
        runtime.stopping.set()
        # Celery can wait for a Redis that is gone; claims that are cut off run out and are taken over.
        last_resort = threading.Timer(_STOP_S, os._exit, (1,))
        last_resort.daemon = True
        last_resort.start()

    def leave(*_: object) -> None:
        stop()
        raise SystemExit(0)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, leave)  # until Celery puts its own in place: the watch begins to work before
    worker_shutting_down.connect(stop)
    # Celery warns of running as root because of pickled messages; we accept JSON only.
    warnings.filterwarnings("ignore", category=SecurityWarning)
    try:
        runtime.refuse_other_models()
        register_tasks(app, runtime)
        watch = Watch(runtime, queues, settings.queue.reconcile_s, random.Random())  # noqa: S311 - spreads load
        try:
            watch.start()
            app.worker_main(
                [
                    "--quiet",
                    "worker",
                    "--pool=threads",
                    f"--concurrency={_THREADS}",
                    f"--queues={','.join(queues)}",
                    "--loglevel=WARNING",
                    "--without-gossip",
                    "--without-mingle",
                ]
            )
            if not runtime.stopping.is_set():  # Celery gave up by itself: whoever watches over us must start us again
                raise SystemExit(1)
        finally:
            watch.stop()
    finally:
        runtime.close()

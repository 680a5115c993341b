"""The Celery application: explicit task names, JSON, ids only, early acknowledgement.

A message is a doorbell (ARCHITECTURE.md: the record store is the ledger), so nothing about a lost, doubled or late one
matters, and results are never stored.
"""

from collections.abc import Callable
from typing import Final

from celery import Celery
from kombu.entity import Exchange, Queue

from core.observing.tracing import Tracer
from core.pipeline.doorbell import QUEUES, TASK_NAMES

TRACEPARENT: Final = "traceparent"  # the header in which a message names its place in a trace
_PUBLISH_ONCE = {"max_retries": 1, "interval_start": 0, "interval_step": 0.1, "interval_max": 0.1}


def create_celery(redis_url: str) -> Celery:
    """Return the application for a broker; nothing is connected yet."""
    app = Celery("ostraka", broker=redis_url, set_as_current=False)
    app.conf.update(
        task_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,
        task_acks_late=False,
        task_queues=[Queue(name, Exchange(name), routing_key=name) for name in QUEUES],
        task_routes={TASK_NAMES[queue]: {"queue": queue, "routing_key": queue} for queue in QUEUES},
        task_publish_retry_policy=_PUBLISH_ONCE,
        task_create_missing_queues=False,
        worker_prefetch_multiplier=1,
        worker_send_task_events=True,
        worker_hijack_root_logger=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,  # the watch works meanwhile; a Redis that is back is heard again
        broker_transport_options={"socket_connect_timeout": 2, "socket_timeout": 30, "socket_keepalive": True},
        enable_utc=True,
    )
    return app


def publisher(app: Celery, tracer: Tracer | None = None) -> Callable[[str, str], None]:
    """Return ``publish(queue, company)``: send one message, or raise at once when Redis is away.

    Where there is a trace, the message says its place in it: ids alone.
    """
    place_of = tracer.current if tracer else Tracer().current

    def publish(queue: str, company: str) -> None:
        place = place_of()
        app.send_task(
            TASK_NAMES[queue],
            args=[company],
            ignore_result=True,
            retry=True,
            retry_policy=_PUBLISH_ONCE,
            expires=600,
            headers={TRACEPARENT: place} if place else None,
        )

    return publish

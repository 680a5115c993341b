"""The tasks: one for each queue, each a call into the core."""

from collections.abc import Callable

import structlog
from celery import Celery, Task
from structlog.contextvars import bound_contextvars

from core.errors import NotFound, OstrakaError
from core.observing.tracing import trace_named
from core.pipeline.doorbell import QUEUES, TASK_NAMES
from core.runtime import Runtime
from workers.app import TRACEPARENT
from workers.pulse import Pulse

log = structlog.get_logger()


def register_tasks(app: Celery, runtime: Runtime, pulse: Pulse) -> None:
    """Register a task for each queue. A task that fails leaves its work in the ledger, where it is found again."""
    for queue in QUEUES:
        app.task(name=TASK_NAMES[queue], ignore_result=True, bind=True)(_worker_of(runtime, queue, pulse))


def _worker_of(runtime: Runtime, queue: str, pulse: Pulse) -> Callable[[Task, str], None]:
    silent_s_max, tracer = runtime.settings.worker.hung_s, runtime.observer.tracer

    def work(task: Task, company: str) -> None:
        place = (task.request.headers or {}).get(TRACEPARENT)
        with (
            pulse.watched(f"task-{queue}", silent_s_max),
            tracer.span(TASK_NAMES[queue], parent=place, company=company),
            bound_contextvars(**trace_named(tracer)),
        ):
            perform(runtime, queue, company)

    return work


def perform(runtime: Runtime, queue: str, company: str) -> None:
    """Do a queue's work for a company; errors are logged by kind, never by content, and end here.

    Celery would log their message and traceback; the work is still in the ledger, and the watch comes back to it.
    """
    try:
        runtime.work(queue, company)
    except NotFound:
        log.info("company_unknown", queue=queue, company=company)
    except OstrakaError as error:
        log.error("work_failed", queue=queue, company=company, code=error.reason)
    except Exception as error:  # noqa: BLE001 - as above
        log.error("work_failed", queue=queue, company=company, code=type(error).__name__)

"""Health and metrics: for operators, probes and Prometheus."""

import time
from typing import Any

from fastapi import APIRouter, Request
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import Response

from api.answers import answer
from api.problems import documented, problem
from api.routes.dependencies import Caller
from api.schemas import Health
from core.records.apikeys import has_keys

router = APIRouter(tags=["server"])


@router.get("/health", response_model=Health, summary="How the server is")
def health(request: Request) -> Response:
    """Say how the server is, and what is wrong where it is degraded."""
    state = request.app.state
    problems = _problems(state)
    keys = has_keys(state.runtime.control) or state.runtime.settings.auth.require_key
    return answer(
        {
            "status": "degraded" if problems else "healthy",
            "version": state.version,
            "uptime_seconds": time.monotonic() - state.started,
            "authentication": "keys" if keys else "none (loopback only)",
            "problems": problems,
        }
    )


@router.get("/health/live", summary="Is the process alive")
async def live() -> Response:
    """Answer as long as the event loop turns."""
    return answer({"status": "alive"})


@router.get("/health/ready", responses={503: documented()[503]}, summary="Can the server do its work")
def ready(request: Request) -> Response:
    """Answer 200 while the store and Redis answer; 503 with the reason otherwise."""
    problems = _problems(request.app.state)
    if problems:
        return problem(503, "not_ready", "; ".join(problems))
    return answer({"status": "ready"})


@router.get(
    "/metrics",
    summary="Prometheus metrics",
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, **documented()},
    response_class=Response,
)
def metrics(request: Request, caller: Caller) -> Response:
    """Return the company's metrics. Namespaces appear by their opaque ids. Needs the scope `read`."""
    caller.principal.require("read")
    return Response(request.app.state.metrics.expose(caller.principal.company_id), media_type=CONTENT_TYPE_LATEST)


def _problems(state: Any) -> list[str]:
    found = []
    try:
        state.runtime.control.companies()
    except Exception:  # noqa: BLE001 - whatever the reason, the store does not answer
        found.append("the record store does not answer")
    if not state.ping_redis():
        found.append("Redis does not answer: new memories are kept, and searchable once it is back")
    return found

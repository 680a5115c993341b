"""Health and metrics: for operators, probes and Prometheus."""

import time
from functools import partial

from anyio import to_thread
from fastapi import APIRouter, Request
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import Response

from api.answers import answer
from api.guardedroute import GuardedRoute
from api.problems import documented, problem
from api.routes.dependencies import Caller
from api.schemas import Health
from core.errors import Forbidden
from core.pipeline.checkups import Checkup
from core.pipeline.readiness import status_of

router = APIRouter(tags=["server"], route_class=GuardedRoute)


@router.get("/health", response_model=Health, summary="How the server is")
async def health(request: Request) -> Response:
    """Say how the server is, and what is wrong where it is degraded or not ready."""
    state = request.app.state
    checkup: Checkup = await state.checkups.latest()
    keys = checkup.has_api_keys or state.runtime.settings.auth.require_key
    return answer(
        {
            "status": status_of(checkup.reasons),
            "version": state.version,
            "role": state.role,
            "uptime_seconds": time.monotonic() - state.started,
            "authentication": "keys" if keys else "none",
            "problems": [f"{reason.code}: {reason.detail}" for reason in checkup.reasons],
        }
    )


@router.get("/health/live", summary="Is the process alive")
async def live() -> Response:
    """Answer as long as the event loop turns."""
    return answer({"status": "alive"})


@router.get("/health/ready", responses={503: documented()[503]}, summary="Can the server do its work")
async def ready(request: Request) -> Response:
    """Answer 200 while what was written becomes searchable; 503 with the reasons otherwise, `errors` has their codes.

    Searches are answered as long as the record store is, whatever else is wrong.
    """
    checkup: Checkup = await request.app.state.checkups.latest()
    wrong = [reason for reason in checkup.reasons if reason.unready]
    if wrong:
        faults = [{"code": reason.code, "detail": reason.detail} for reason in wrong]
        return problem(503, "not_ready", "; ".join(reason.detail for reason in wrong), faults)
    return answer({"status": "ready"})


@router.get(
    "/metrics",
    summary="Prometheus metrics",
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, **documented()},
    response_class=Response,
)
async def metrics(request: Request, caller: Caller) -> Response:
    """Return the company's metrics, namespaces by their opaque ids. Needs the scope `read` for all of them.

    The operator's key shows every company's figures besides.
    """
    if not caller.principal.covers_all:
        raise Forbidden("metrics are of every namespace; use a key that covers all", code="namespace_forbidden")
    state = request.app.state
    if caller.operates:  # to look after the server is to look into every company's store
        await state.checkups.latest()
    expose = partial(state.metrics.expose, caller.principal.company_id, operates=caller.operates)
    return Response(await to_thread.run_sync(expose), media_type=CONTENT_TYPE_LATEST)

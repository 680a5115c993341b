"""Administration of the whole server: freezing it for a copy, and backups.

They concern every company, so they are the operator's: an admin key of the default company that covers all its
namespaces, or anybody on a loopback server without keys (``api/permissions.py`` says so). Each takes a JSON body, which
no foreign web page can send.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any, Final, Literal

from anyio import CancelScope, to_thread
from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import iterate_in_threadpool
from starlette.responses import Response, StreamingResponse

from api.answers import answer
from api.guardedroute import GuardedRoute
from api.problems import documented
from api.requestbody import RequestBody
from api.routes.dependencies import Caller
from core import limits
from core.backup.creating import Backup, open_backup
from core.clock import to_datetime
from core.memory import Name
from core.pipeline.doorbell import QUEUES
from core.pipeline.freezing import FreezeState, freeze, freeze_state, unfreeze
from core.runtime import Runtime

router = APIRouter(prefix="/admin", tags=["admin"], route_class=GuardedRoute)

_STREAM: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "The backup; its size is declared, so that one that was cut off is noticed.",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


class _Body(RequestBody):
    model_config = ConfigDict(json_schema_extra={"examples": [{}]})


class MakeBackup(_Body):
    """What to back up."""

    company: Name | None = Field(None, description="Only this company. Default: everything.")


class FreezeServer(_Body):
    """How long to hold still."""

    max_seconds: float | None = Field(
        None,
        strict=True,
        gt=0,
        le=limits.FREEZE_S_MAX,
        description="The freeze ends by itself after this. Default: never.",
    )


class UnfreezeServer(_Body):
    """Nothing to say."""


class FreezeView(BaseModel):
    """Whether the server takes writes."""

    state: Literal["open", "draining", "frozen"]
    frozen_at: datetime | None
    frozen_until: datetime | None = Field(description="None: until somebody ends it.")


class FreezeAnswer(FreezeView):
    """A freeze that holds."""

    drained: bool = Field(description="False: work that did not end in time was cut off, and is done again later.")


@router.post("/backup", responses={**_STREAM, **documented(404)}, response_class=Response, summary="Take a backup")
async def backup(body: MakeBackup, request: Request, caller: Caller) -> Response:
    """Send a sealed backup of the running server, the same bytes as the command writes."""
    control = _runtime(request).control
    company = None if body.company is None else (await to_thread.run_sync(control.find_company, body.company)).id
    caller.trail.company = company
    opened = open_backup(control, company)
    ready = await to_thread.run_sync(opened.__enter__)
    caller.trail.target = ready.header.backup
    name = f"{ready.header.backup}.ostraka"
    return StreamingResponse(
        _sent(opened, ready.chunks()),
        media_type="application/octet-stream",
        headers={"content-length": str(ready.size), "content-disposition": f'attachment; filename="{name}"'},
    )


@router.get("/freeze", response_model=FreezeView, responses=documented(), summary="Is the server frozen")
def state(request: Request) -> Response:
    """Say whether the server takes writes."""
    return answer(_view(freeze_state(_runtime(request).control)))


@router.post("/freeze", response_model=FreezeAnswer, responses=documented(), summary="Freeze for a copy")
def begin(body: FreezeServer, request: Request) -> Response:
    """Let work under way end, refuse new writes with 503, and answer once a copy of the data directory is complete."""
    outcome = freeze(_runtime(request).control, body.max_seconds)
    return answer({**_view(outcome.state), "drained": outcome.drained})


@router.post("/unfreeze", response_model=FreezeView, responses=documented(), summary="End a freeze")
def end(body: UnfreezeServer, request: Request) -> Response:  # noqa: ARG001 - it must be there
    """Take writes again. Ending no freeze is no error."""
    runtime = _runtime(request)
    unfreeze(runtime.control)
    for company in runtime.control.company_ids():
        for queue in QUEUES:
            runtime.doorbell.ring(queue, company)
    return answer(_view(freeze_state(runtime.control)))


def _runtime(request: Request) -> Runtime:
    runtime: Runtime = request.app.state.runtime
    return runtime


async def _sent(opened: AbstractContextManager[Backup], chunks: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Send a backup, and let go of what it needs when it is sent or the caller has gone."""
    try:
        async for chunk in iterate_in_threadpool(chunks):
            yield chunk
    finally:
        with CancelScope(shield=True):
            await to_thread.run_sync(opened.__exit__, None, None, None)


def _view(state: FreezeState) -> dict[str, Any]:
    return {
        "state": state.state,
        "frozen_at": None if state.frozen_at is None else to_datetime(state.frozen_at),
        "frozen_until": None if state.frozen_until is None else to_datetime(state.frozen_until),
    }

"""Writing memories: one, many, a new version, away with them."""

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any

import orjson
from anyio import to_thread
from fastapi import APIRouter, Query, Request
from starlette.responses import Response
from structlog.contextvars import bind_contextvars

from api.access import Access
from api.answers import answer
from api.bodyreading import flag, parse, read_json
from api.bulk import BulkLines, parse_bulk
from api.delivery import Delivery
from api.guardedroute import GuardedRoute
from api.idempotency import PARAMETER, REPLAYED, idempotency, replayed
from api.paths import PathName
from api.problems import documented
from api.receipts import ERASED, answer_erased
from api.routes.dependencies import Caller, NamespaceParameter, caller
from api.schemas import (
    ADD_EXAMPLE,
    EMBEDDED_EXAMPLE,
    AddAnswer,
    AddMemory,
    BulkAnswer,
    DeleteAnswer,
    Memory,
    PatchMemory,
    memory_body,
)
from api.scopes import delete_conditions
from api.waiting import wait_for_job
from core.errors import Busy, Conflict, DiskFull, InvalidInput, NotFound, OverQuota, TooLarge
from core.memory import Name, NewMemory, Tag, stored_bytes
from core.pipeline.forgetting import Conditions, delete_matching
from core.records.company import Namespace
from core.records.deletion import delete_memory
from core.records.reading import MemoryView, get_memory
from core.records.tables import Lane
from core.records.writes import Accepted, Idempotency, WriteRequest, find_repeat
from core.tenant import Tenant

router = APIRouter(prefix="/v1", tags=["memory"], route_class=GuardedRoute)

_WAIT_S = 30.0
_PATCH_TRIES = 5
_ADD_REQUEST = {
    "parameters": [
        PARAMETER,
        {
            "name": "wait",
            "in": "query",
            "required": False,
            "description": "Answer 201 once it is searchable.",
            "schema": {"type": "boolean", "default": False},
        },
    ],
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": {"$ref": "#/components/schemas/AddMemory"}, "example": ADD_EXAMPLE},
        },
    },
}
_BULK_REQUEST = {
    "parameters": [PARAMETER],
    "requestBody": {
        "required": True,
        "description": "NDJSON (one memory a line) or a JSON list; each item as in POST /v1/memory.",
        "content": {
            "application/x-ndjson": {
                "schema": {"type": "string"},
                "examples": {
                    "content": {"value": orjson.dumps(ADD_EXAMPLE).decode() + "\n"},
                    "vectors of your own": {"value": orjson.dumps(EMBEDDED_EXAMPLE).decode() + "\n"},
                },
            },
            "application/json": {
                "schema": {"type": "array", "items": {"$ref": "#/components/schemas/AddMemory"}},
                "example": [ADD_EXAMPLE],
            },
        },
    },
}


@router.post(
    "/memory",
    status_code=202,
    response_model=AddAnswer,
    responses={
        201: {"model": AddAnswer, "description": "Searchable (with wait).", **REPLAYED},
        202: REPLAYED,
        **documented(404, 409),
    },
    summary="Remember something",
    openapi_extra=_ADD_REQUEST,
)
async def add(request: Request) -> Response:
    """Accept one memory. The answer comes after it is durable; it is searchable a moment later."""
    access = await caller(request)
    body = await read_json(request)
    memory, wait = parse(AddMemory, body), flag(request, "wait")
    access.tenant.space.check(memory.embedding)
    accepted = await _accept(
        request, access, memory.namespace, [memory], stored_bytes([memory]), Lane.INTERACTIVE, body
    )
    state = "pending"
    if wait:
        stopping = request.app.state.runtime.stopping.is_set
        job = await wait_for_job(access.tenant.records, accepted.job_id, _WAIT_S, stopping)
        state = job.state if job.finished_at else state
    answered = {"id": accepted.ids[0], "job_id": accepted.job_id, "state": state}
    return replayed(answer(answered, 201 if state == "indexed" else 202), accepted)


@router.post(
    "/memory/bulk",
    status_code=202,
    response_model=BulkAnswer,
    responses={202: REPLAYED, **documented(404, 409)},
    summary="Remember much at once",
    openapi_extra=_BULK_REQUEST,
)
async def add_bulk(request: Request, caller: Caller) -> Response:
    """Accept up to 10,000 memories of one namespace as one job.

    Lines that are wrong are rejected by number; the others are accepted, all or nothing.
    """
    body = await read_json(request)
    kind = request.headers.get("content-type", "")
    lines: BulkLines = await to_thread.run_sync(parse_bulk, body, kind, caller.tenant.space)
    rejected = [{"line": each.line, "code": each.code, "detail": each.detail} for each in lines.rejected]
    kept = {"accepted": len(lines.items), "rejected": rejected}
    accepted = await _accept(request, caller, lines.namespace, lines.items, lines.stored_bytes, Lane.BULK, body, kept)
    return replayed(answer({"job_id": accepted.job_id, **accepted.answer}, 202), accepted)


@router.patch("/memory/{memory_id}", response_model=Memory, responses=documented(404, 409), summary="Change a memory")
async def patch(memory_id: PathName, body: PatchMemory, namespace: NamespaceParameter, caller: Caller) -> Response:
    """Write a new version with some fields changed; the old one stays in the history."""
    opened = caller.namespace(namespace)
    records, admission = caller.tenant.records, caller.tenant.admission
    if admission.due:
        await to_thread.run_sync(admission.measure)
    for attempt in range(_PATCH_TRIES):
        current = await to_thread.run_sync(get_memory, records, opened, memory_id)
        item = _patched(current, body, records.clock())
        request = WriteRequest(opened, [item], Lane.INTERACTIVE, replaces_row=current.row)
        try:
            with admission.admitted(Lane.INTERACTIVE, 1, stored_bytes([item])):
                await asyncio.wrap_future(caller.tenant.committer.submit(request))
            break
        except Conflict as error:
            if isinstance(error, OverQuota) or attempt == _PATCH_TRIES - 1:
                raise
    return answer(memory_body(await to_thread.run_sync(get_memory, records, opened, memory_id)))


@router.delete(
    "/memory/{memory_id}", status_code=204, responses={**ERASED, **documented(404)}, summary="Forget a memory"
)
async def delete(memory_id: PathName, namespace: NamespaceParameter, caller: Caller) -> Response:
    """Delete a memory with all its versions; no later answer contains it."""
    opened = caller.namespace(namespace)
    return answer_erased(await to_thread.run_sync(delete_memory, caller.tenant.records, opened, memory_id))


@router.delete("/memory", response_model=DeleteAnswer, responses=documented(404), summary="Forget what matches")
async def delete_many(
    namespace: NamespaceParameter,
    caller: Caller,
    session: Annotated[Name | None, Query(description="Only this session.")] = None,
    tags: Annotated[list[Tag] | None, Query(description="Only memories with all these tags.")] = None,
    filter: Annotated[str | None, Query(description="A metadata filter as JSON.")] = None,  # noqa: A002 - the contract's name
) -> Response:
    """Delete every memory that matches all the conditions given; at least one must be."""
    conditions = delete_conditions(session, tags or [], filter)
    if conditions == Conditions():
        raise InvalidInput(
            "name a session, tags or a filter; to delete everything use DELETE /v1/namespaces/{name}", field="filter"
        )
    opened = caller.namespace(namespace)
    done = await to_thread.run_sync(delete_matching, caller.tenant.records, opened, conditions)
    return answer({"deletion_id": done.id, "deleted": done.rows, "refused": done.refused})


async def _accept(
    request: Request,
    access: Access,
    name: str,
    items: Sequence[NewMemory],
    size: int,
    lane: Lane,
    body: bytes,
    kept: dict[str, Any] | None = None,
) -> Accepted:
    """Commit memories where there is room for them; a request that was committed before needs none."""
    tenant = access.tenant
    if tenant.admission.due:
        await to_thread.run_sync(tenant.admission.measure)
    try:
        with tenant.admission.admitted(lane, len(items), size):
            namespace = await access.write_or_create(name)
            once = idempotency(request, namespace, body)
            accepted = await _commit(request.app.state.delivery, tenant, namespace, items, lane, once, kept)
            request.state.job_id = accepted.job_id
            bind_contextvars(job_id=accepted.job_id)
            return accepted
    except (Busy, DiskFull, OverQuota, TooLarge):
        if earlier := await _find_earlier(request, access, name, body):
            return earlier
        raise


async def _find_earlier(request: Request, access: Access, name: str, body: bytes) -> Accepted | None:
    """Return what an earlier request with the same idempotency key was answered. Raises ``Forbidden``, ``Conflict``."""
    try:
        namespace = await to_thread.run_sync(access.namespace, name)
    except NotFound:
        return None
    once = idempotency(request, namespace, body)

    def look() -> Accepted | None:
        with access.tenant.records.database.read() as connection:
            return find_repeat(connection, namespace, once) if once else None

    return await to_thread.run_sync(look)


async def _commit(
    delivery: Delivery,
    tenant: Tenant,
    namespace: Namespace,
    items: Sequence[NewMemory],
    lane: Lane,
    once: Idempotency | None,
    kept: dict[str, Any] | None = None,
) -> Accepted:
    request = WriteRequest(namespace, items, lane, once, kept or {})
    try:
        return await delivery.wait(tenant.committer.submit(request))
    except NotFound:
        tenant.records.forget(namespace)  # it was deleted by another process: the next write makes it anew
        raise


def _patched(current: MemoryView, body: PatchMemory, now: int) -> NewMemory:
    """Return the memory that a patch makes of the present version; its remaining life goes on."""
    kept: dict[str, Any] = {
        "id": current.id,
        "content": current.content,
        "metadata": current.metadata,
        "session": current.session,
        "tags": current.tags,
        "importance": current.importance,
        "occurred_at": current.occurred_at,
    }
    if current.expires_at is not None:
        kept["ttl_seconds"] = max(1, round(current.expires_at.timestamp() - now / 1e6))
    changed = {name: getattr(body, name) for name in body.model_fields_set}
    empty: dict[str, Any] = {"metadata": {}, "tags": []}
    return NewMemory.model_validate(
        kept | {name: empty.get(name) if value is None else value for name, value in changed.items()}
    )

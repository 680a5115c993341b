"""Searching."""

import time
from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from api.access import Access
from api.answers import answer
from api.guardedroute import GuardedRoute
from api.problems import documented
from api.routes.dependencies import Caller, NamespaceParameter
from api.schemas import SearchAnswer, SearchMemory, result_body
from api.scopes import search_scope
from api.waiting import wait_for_job
from core import limits
from core.errors import NotFound
from core.memory import Moment, Name, Tag
from core.records.reading import get_job
from core.search.request import Mode, SearchRequest

router = APIRouter(prefix="/v1", tags=["search"], route_class=GuardedRoute)


@router.get("/memory/search", response_model=SearchAnswer, responses=documented(404), summary="Search")
async def search_by_url(
    request: Request,
    caller: Caller,
    namespace: NamespaceParameter,
    query: Annotated[str, Query(min_length=1, max_length=limits.QUERY_CHARS_MAX)],
    limit: Annotated[int, Query(ge=1, le=limits.SEARCH_LIMIT_MAX)] = 10,
    mode: Annotated[Mode | None, Query(description="Default: the setting [retrieval] mode.")] = None,
    session: Annotated[Name | None, Query()] = None,
    tags: Annotated[list[Tag] | None, Query(max_length=limits.TAGS_MAX)] = None,
    since: Annotated[Moment | None, Query()] = None,
    until: Annotated[Moment | None, Query()] = None,
) -> Response:
    """Search with the simple conditions that fit a URL."""
    body = SearchMemory(
        namespace=namespace,
        query=query,
        limit=limit,
        mode=mode,
        session=session,
        tags=tags or [],
        since=since,
        until=until,
    )
    return await _search(request, caller, body)


@router.post("/memory/search", response_model=SearchAnswer, responses=documented(404), summary="Search with filters")
async def search_by_body(body: SearchMemory, request: Request, caller: Caller) -> Response:
    """Search with metadata filters, a point in time, explanations, or after a job."""
    return await _search(request, caller, body)


async def _search(request: Request, caller: Access, body: SearchMemory) -> Response:
    started = time.perf_counter()
    namespace = caller.namespace(body.namespace)
    scope = search_scope(body)
    if body.after_job is not None:
        job = await to_thread.run_sync(get_job, caller.tenant.records, body.after_job)
        if not caller.principal.covers(job.namespace):
            raise NotFound("there is no such job", field="job_id")
        stopping = request.app.state.runtime.stopping.is_set
        await wait_for_job(caller.tenant.records, body.after_job, body.wait_ms / 1e3, stopping)
    mode: Mode = body.mode or request.app.state.runtime.settings.retrieval.mode
    asked = SearchRequest(body.query, body.limit, mode, scope, body.explain)
    found = await to_thread.run_sync(
        caller.tenant.query.search, namespace, asked, limiter=request.app.state.search_limiter
    )
    took_s = time.perf_counter() - started
    request.app.state.metrics.observe_search(caller.principal.company_id, namespace.public_id, took_s, found.took_ms)
    parts = dict(found.took_ms) if body.explain else None
    results = [result_body(hit) for hit in found.hits]
    return answer({"results": results, "took_ms": took_s * 1e3, "parts_ms": parts})

"""Reading memories back: one, its history, all of them."""

from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Query
from starlette.responses import Response

from api.answers import answer
from api.cursors import decode_cursor, encode_cursor
from api.guardedroute import GuardedRoute
from api.paths import PathName
from api.problems import documented
from api.routes.dependencies import Caller, NamespaceParameter
from api.schemas import Memory, MemoryPage, memory_body
from core import limits
from core.memory import Name
from core.records.reading import get_history, get_memory, list_memories

router = APIRouter(prefix="/v1", tags=["memory"], route_class=GuardedRoute)


@router.get("/memory", response_model=MemoryPage, responses=documented(404), summary="List memories")
def list_page(
    namespace: NamespaceParameter,
    caller: Caller,
    cursor: Annotated[str | None, Query(description="From the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=limits.PAGE_LIMIT_MAX)] = 50,
    session: Annotated[Name | None, Query(description="Only this session.")] = None,
) -> Response:
    """Return a page of the present memories, in order of acceptance.

    A memory whose stored bytes were changed is left out, and the log says so.
    """
    opened = caller.namespace(namespace)
    after = decode_cursor(cursor) or 0
    page = list_memories(caller.tenant.records, opened, after=after, limit=limit, session=session)
    more = None if page.next_after is None else encode_cursor(page.next_after)
    return answer({"memories": [memory_body(memory) for memory in page.memories], "next_cursor": more})


@router.get("/memory/{memory_id}", response_model=Memory, responses=documented(404), summary="Read a memory")
async def get(memory_id: PathName, namespace: NamespaceParameter, caller: Caller) -> Response:
    """Return the present version of a memory, with its state."""
    opened = caller.namespace(namespace)
    return answer(memory_body(await to_thread.run_sync(get_memory, caller.tenant.records, opened, memory_id)))


@router.get(
    "/memory/{memory_id}/history", response_model=list[Memory], responses=documented(404), summary="Read all versions"
)
async def history(memory_id: PathName, namespace: NamespaceParameter, caller: Caller) -> Response:
    """Return every version of a memory, oldest first."""
    opened = caller.namespace(namespace)
    versions = await to_thread.run_sync(get_history, caller.tenant.records, opened, memory_id)
    return answer([memory_body(version) for version in versions])

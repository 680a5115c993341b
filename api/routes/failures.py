"""The dead letter: memories that failed, to be looked at, tried again, or discarded."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from api.answers import answer
from api.cursors import decode_cursor, encode_cursor
from api.failures import DiscardAnswer, FailurePage, FailureSelection, RetryAnswer, page_body
from api.guardedroute import GuardedRoute
from api.problems import documented
from api.routes.dependencies import Caller
from core import limits
from core.memory import Name
from core.records.failures import discard_failed, find_failed, list_failures
from core.records.retries import retry_rows
from core.records.tables import Lane

router = APIRouter(prefix="/v1", tags=["failures"], route_class=GuardedRoute)


@router.get("/failures", response_model=FailurePage, responses=documented(404), summary="List failed memories")
def list_page(
    caller: Caller,
    namespace: Annotated[Name | None, Query(description="Only this namespace.")] = None,
    cursor: Annotated[str | None, Query(description="From the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=limits.PAGE_LIMIT_MAX)] = 50,
) -> Response:
    """Return failed memories, oldest first, of the namespaces that the credential covers."""
    wanted, after = caller.listed(namespace), decode_cursor(cursor) or 0
    page, more = list_failures(caller.tenant.records, namespace_ids=wanted, after=after, limit=limit)
    return answer(page_body(page, None if more is None else encode_cursor(more)))


@router.post("/failures/retry", response_model=RetryAnswer, responses=documented(404), summary="Try again")
def retry(chosen: FailureSelection, caller: Caller) -> Response:
    """Send failed memories through the pipeline again: those named, or all of the namespace."""
    namespace = caller.namespace(chosen.namespace)
    records = caller.tenant.records
    retried = retry_rows(records, find_failed(records, namespace, chosen.ids, chosen.row_ids()))
    if retried:
        caller.tenant.ring(set(Lane))
    return answer({"retried": retried})


@router.post("/failures/discard", response_model=DiscardAnswer, responses=documented(404), summary="Give up for good")
def discard(chosen: FailureSelection, caller: Caller) -> Response:
    """Delete failed memories for good: those named, or all of the namespace.

    A memory goes with all its versions; a failed version that a newer one has replaced goes alone.
    """
    namespace = caller.namespace(chosen.namespace)
    records = caller.tenant.records
    discarded = discard_failed(records, namespace, find_failed(records, namespace, chosen.ids, chosen.row_ids()))
    return answer({"discarded": discarded.rows, "deletion_ids": list(discarded.receipts)})

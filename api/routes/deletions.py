"""Receipts of deletions: what was erased where and when, and what remains until when."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from api.access import Access
from api.answers import answer
from api.cursors import decode_cursor, encode_cursor
from api.guardedroute import GuardedRoute
from api.paths import PathText
from api.problems import documented
from api.receipts import Deletion, DeletionPage, receipt_body
from api.routes.dependencies import Caller
from core import limits
from core.errors import NotFound
from core.memory import Name
from core.records.receipts import Receipt, get_receipt, list_receipts

router = APIRouter(prefix="/v1", tags=["deletions"], route_class=GuardedRoute)


@router.get("/deletions", response_model=DeletionPage, responses=documented(404), summary="List receipts of deletions")
def list_page(
    caller: Caller,
    namespace: Annotated[Name | None, Query(description="Only this namespace.")] = None,
    cursor: Annotated[str | None, Query(description="From the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=limits.PAGE_LIMIT_MAX)] = 50,
) -> Response:
    """Return receipts, newest first, of the namespaces that the credential covers.

    Those of deleted namespaces are listed for administrators of all namespaces.
    """
    wanted = caller.listed(namespace)
    with caller.tenant.records.database.read() as connection:
        page = list_receipts(connection, namespace_ids=wanted, after=decode_cursor(cursor), limit=limit)
    more = encode_cursor(page[-1].row) if len(page) == limit else None
    named = [(receipt, _name(caller, receipt)) for receipt in page]
    administers_all = "admin" in caller.principal.scopes and caller.principal.covers_all
    seen = [
        receipt_body(receipt, name)
        for receipt, name in named
        if (administers_all if name is None else caller.principal.covers(name))
    ]
    return answer({"deletions": seen, "next_cursor": more})


@router.get("/deletions/{deletion_id}", response_model=Deletion, responses=documented(404), summary="Read a receipt")
def get(deletion_id: PathText, caller: Caller) -> Response:
    """Return the receipt of a deletion. Those of a deleted namespace need the scope `admin` as well."""
    with caller.tenant.records.database.read() as connection:
        receipt = get_receipt(connection, deletion_id)
    name = _name(caller, receipt)
    if not ("admin" in caller.principal.scopes if name is None else caller.principal.covers(name)):
        raise NotFound("there is no such deletion", field="deletion_id")
    return answer(receipt_body(receipt, name))


def _name(caller: Access, receipt: Receipt) -> str | None:
    """Return the name of the receipt's namespace, ``None`` once it was deleted."""
    try:
        return None if receipt.namespace_deleted else caller.tenant.records.namespace_by_id(receipt.namespace_id).name
    except NotFound:  # deleted just now
        return None

"""The audit log: who did what."""

from contextlib import suppress
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field
from starlette.responses import Response

from api.answers import answer
from api.cursors import decode_cursor, encode_cursor
from api.guardedroute import GuardedRoute
from api.problems import documented
from core import limits
from core.audit.log import Entry
from core.clock import to_datetime, to_us
from core.errors import Unavailable
from core.memory import Moment
from core.runtime import Runtime

router = APIRouter(prefix="/admin", tags=["admin"], route_class=GuardedRoute)


class AuditEntry(BaseModel):
    """Something that was done."""

    seq: int = Field(description="Its number, without gaps.")
    at: datetime = Field(description="When it was written.")
    actor: str = Field(description="Id of an API key, or another name of docs/audit.md.", examples=["key_0a…"])
    action: str = Field(examples=["namespace.delete"])
    result: str = Field(description="begun, ok, refused:code or failed:code; damaged: the entry was changed.")
    times: int = Field(description="How often, since `since`.")
    since: datetime | None
    company: str | None
    namespace: str | None
    target: str | None
    address: str | None


class AuditPage(BaseModel):
    """Entries, newest first."""

    entries: list[AuditEntry]
    next_cursor: str | None = Field(description="A page may be empty and yet have one behind it.")


@router.get("/audit", response_model=AuditPage, responses=documented(), summary="List the audit log")
def list_page(
    request: Request,
    company: Annotated[
        str | None, Query(description="Only this company, by its id.", pattern="^co_[0-9a-f]{32}$")
    ] = None,
    action: Annotated[
        str | None, Query(description="Only this action.", pattern="^[a-z_]{1,20}\\.[a-z_]{1,20}$")
    ] = None,
    since: Annotated[Moment | None, Query(description="Only from this time on.")] = None,
    cursor: Annotated[str | None, Query(description="From the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=limits.PAGE_LIMIT_MAX)] = 50,
) -> Response:
    """Return entries, newest first; what this process has counted is written before."""
    runtime: Runtime = request.app.state.runtime
    with suppress(Unavailable):  # frozen, or the disk is full: what was written can be read
        runtime.auditor.flush()
    page = runtime.control.audit.page(
        before=decode_cursor(cursor),
        since=None if since is None else to_us(since),
        company=company,
        action=action,
        limit=limit,
    )
    more = None if page.next_before is None else encode_cursor(page.next_before)
    return answer({"entries": [_shown(entry) for entry in page.entries], "next_cursor": more})


def _shown(entry: Entry) -> dict[str, Any]:
    event = entry.event
    since = None if event.since is None else to_datetime(event.since)
    return {**event._asdict(), "seq": entry.seq, "at": to_datetime(entry.at), "company": entry.company, "since": since}

"""The id of the request at hand: the caller's own where it is sane, else made here. Logs and answers name it."""

import re
from typing import Final

from structlog.contextvars import bind_contextvars, get_contextvars

from core.ids import new_id

HEADER: Final = "x-request-id"
# A UUID, or as many digits: nothing that says something gets into a log by this way.
_SANE: Final = re.compile(rb"(req_)?[0-9a-f](-?[0-9a-f]){15,63}", re.IGNORECASE)


def request_id_of(headers: list[tuple[bytes, bytes]]) -> str:
    """Return the id that a request brought, or a new one."""
    given = next((value for name, value in headers if name == b"x-request-id"), b"")
    return given.decode() if _SANE.fullmatch(given) else new_id("req")


def set_request_id(request_id: str) -> None:
    """Name the request that the present task serves, in its logs and problems; no other task's changes."""
    bind_contextvars(request_id=request_id)


def current_request_id() -> str | None:
    """Return the id of the request that the present task serves, if it serves one."""
    found: str | None = get_contextvars().get("request_id")
    return found

"""The id of the request at hand: the caller's own where it is sane, else made here. Logs and answers name it."""

import re
from contextvars import ContextVar
from typing import Final

from core.ids import new_id

HEADER: Final = "x-request-id"
# What generators of ids make, long enough to tell requests apart; whatever else a caller sends is no id.
_SANE: Final = re.compile(rb"[A-Za-z0-9_-]{8,64}")

REQUEST_ID: Final[ContextVar[str | None]] = ContextVar("request_id", default=None)


def request_id_of(headers: list[tuple[bytes, bytes]]) -> str:
    """Return the id that a request brought, or a new one."""
    given = next((value for name, value in headers if name == b"x-request-id"), b"")
    return given.decode() if _SANE.fullmatch(given) else new_id("req")

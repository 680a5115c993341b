"""What the audit log says of a request or command: who did what to what, from where, and how it ended.

Opaque ids alone: no name, no content, no query.
"""

from typing import Any, Final, NamedTuple

import orjson

from core.errors import (
    ConfigurationError,
    IntegrityError,
    OstrakaError,
    StaleGeneration,
    Unavailable,
)

OK: Final = "ok"
BEGUN: Final = "begun"  # written before an administrative action; what became of it is an entry of its own
UNKNOWN: Final = "unknown"  # the actor of a request whose credential was refused or missing
ANONYMOUS: Final = "anonymous"  # the developer of a loopback server without keys
SERVER: Final = "server"
ELSEWHERE: Final = "elsewhere"  # the address of counted requests whose actor came from more than are told apart
LOST: Final = "audit.lost"  # so many requests of which nothing else was kept


class Event(NamedTuple):
    """Something that was done, ``times`` times since ``since``; results are ok, begun, refused:code, failed:code."""

    actor: str
    action: str
    result: str = OK
    company: str | None = None
    namespace: str | None = None
    target: str | None = None
    address: str | None = None
    times: int = 1
    since: int | None = None

    def to_bytes(self) -> bytes:
        """Return the event as compact JSON, without what it does not say."""
        return orjson.dumps({name: value for name, value in self._asdict().items() if value is not None})


DAMAGED: Final = Event(UNKNOWN, UNKNOWN, "damaged")  # stands for an entry that was changed


def result_of(error: BaseException | None) -> str:
    """Return how something ended: ok, refused for a reason that is the caller's, or failed."""
    if error is None:
        return OK
    if not isinstance(error, OstrakaError):
        return f"failed:{OstrakaError.code}"
    ours = isinstance(error, Unavailable | StaleGeneration | IntegrityError | ConfigurationError)
    return f"{'failed' if ours else 'refused'}:{error.reason}"


def parse_event(text: bytes) -> Event:
    """Return an event from its bytes. Raises ``IntegrityError``."""
    try:
        fields: dict[str, Any] = orjson.loads(text)
        return Event(**fields)
    except (ValueError, TypeError):
        raise IntegrityError("an entry of the audit log is not one that this server understands") from None

"""What PostgreSQL says, as errors of ours: by its codes, and never with values of a statement in it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import psycopg
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as NoConnection

from core.errors import Interrupted, OstrakaError, Unavailable

# PostgreSQL, appendix A: error codes.
_BROKEN_OFF: Final = frozenset({"40001", "40P01"})  # serialization failure, deadlock
_AWAY: Final = frozenset({"57P01", "57P02", "57P03", "25006"})  # shut down, crashed, not yet up; a standby
_AWAY_CLASS: Final = "08"  # connection exceptions
_LOCKED: Final = "55P03"
_DAMAGED: Final = frozenset({"XX001", "XX002"})
_REASON_CHARS_MAX: Final = 300


@contextmanager
def translated() -> Iterator[None]:
    """Raise what PostgreSQL and its driver raise as errors of ours, while nothing is committed."""
    try:
        yield
    except NoConnection:
        raise Unavailable(
            "every connection to the record store is in use; raise [storage] database_connections", code="store_busy"
        ) from None
    except DBAPIError as error:
        raise _named(error.orig) from None
    except psycopg.Error as error:
        raise _named(error) from None


@contextmanager
def committing() -> Iterator[None]:
    """Raise likewise of a commit: where its outcome is not known, nobody may do the work anew by himself."""
    try:
        with translated():
            yield
    except Interrupted as error:
        raise Unavailable(
            f"the record store was lost during a commit, which may have been done or not: {error.message}",
            code="store_unavailable",
        ) from None


def is_away(error: BaseException | None) -> bool:
    """Say whether the server was lost, is being replaced, or does not take writes."""
    state = getattr(error, "sqlstate", None)
    if state is None:  # the driver's own: no connection, or not any more
        return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
    return state in _AWAY or state.startswith(_AWAY_CLASS)


def _named(error: BaseException | None) -> OstrakaError:
    state = getattr(error, "sqlstate", None) or ""
    if state in _DAMAGED:
        return Unavailable(
            "the record store's files are damaged; look at the disk of its server, then restore a backup",
            code="store_damaged",
        )
    if state == _LOCKED:
        return Unavailable("another process keeps the record store locked", code="store_busy")
    if state in _BROKEN_OFF or is_away(error):
        return Interrupted(f"the record store does not answer: {_reason(error)}")
    if isinstance(error, psycopg.OperationalError):
        return Unavailable(f"the record store does not answer: {_reason(error)}", code="store_unavailable")
    return OstrakaError(f"the record store refused a statement: {type(error).__name__} {state}".strip())


def _reason(error: BaseException | None) -> str:
    """Return the first line of what is said: what follows it may quote rows."""
    return str(error).partition("\n")[0][:_REASON_CHARS_MAX]

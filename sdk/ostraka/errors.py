"""Every error the client raises, split by what the caller must do.

    OstrakaError
    ├── InvalidRequest     the call is wrong: change it
    ├── NotAuthenticated   no valid API key: give one
    ├── NotAllowed         the key lacks the scope or the namespace: use another key
    ├── NotFound           it is not there, or not yours
    ├── Conflict           the state forbids it: read again, then decide
    ├── Overloaded         come back after ``retry_after_s``
    ├── ServerError        the server failed: tell its operator
    ├── Unreachable        no answer came: check the address, or try later
    └── JobTimeout         the job goes on, but our patience ended

The client has already repeated what it may repeat when one of these arrives.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import httpx

_RETRY_AFTER_S: Final = 1.0  # when the server names no time


@dataclass(frozen=True)
class Fault:
    """One fault of a request: the field, and what is wrong with it."""

    field: str
    detail: str


class OstrakaError(Exception):
    """Root of the tree.

    ``status`` is the HTTP status, or ``None`` without an answer; ``code`` is the server's stable name of the problem;
    ``detail`` says what is wrong and what to do; ``errors`` lists the faults of single fields.
    """

    def __init__(self, detail: str, *, code: str, status: int | None = None, errors: Sequence[Fault] = ()) -> None:
        super().__init__(f"{detail} ({code})")
        self.status = status
        self.code = code
        self.detail = detail
        self.errors = tuple(errors)


class InvalidRequest(OstrakaError):
    """The request breaks a rule; sending it again unchanged fails again."""


class NotAuthenticated(OstrakaError):
    """There is no API key, or it is unknown, expired or revoked."""


class NotAllowed(OstrakaError):
    """The API key is valid but lacks the scope or the namespace."""


class NotFound(OstrakaError):
    """The thing does not exist, or belongs to somebody else."""


class Conflict(OstrakaError):
    """The present state forbids the request."""


class Overloaded(OstrakaError):
    """The server has too much to do; it asks to be left alone for ``retry_after_s`` seconds."""

    retry_after_s: float = _RETRY_AFTER_S


class ServerError(OstrakaError):
    """The server, or something in front of it, failed or answered what no Ostraka server answers.

    ``retry_after_s`` says when to come back, where the server does: it is frozen, or its disk is full.
    """

    retry_after_s: float | None = None


class Unreachable(OstrakaError):
    """No complete answer arrived: no connection, a broken one, or ``timeout_s`` ran out."""


class JobTimeout(OstrakaError, TimeoutError):
    """A job did not reach an end state in the time given. Nothing is lost: the job goes on."""


_KINDS: Final[Mapping[int, type[OstrakaError]]] = {
    401: NotAuthenticated,
    403: NotAllowed,
    404: NotFound,
    409: Conflict,
    429: Overloaded,
}


def from_answer(response: httpx.Response) -> OstrakaError:
    """Return the error that an answer without success stands for, whoever wrote it."""
    status = response.status_code
    kind = _KINDS.get(status, ServerError if status >= 500 else InvalidRequest)
    problem = _problem(response)
    detail = str(problem.get("detail") or f"the server answered {status} {response.reason_phrase}".rstrip())
    error = kind(detail, code=str(problem.get("code") or "http"), status=status, errors=_faults(problem.get("errors")))
    asked_s = _retry_after_s(response)
    if isinstance(error, Overloaded):
        error.retry_after_s = _RETRY_AFTER_S if asked_s is None else asked_s
    elif isinstance(error, ServerError):
        error.retry_after_s = asked_s
    return error


def _problem(response: httpx.Response) -> dict[str, Any]:
    """Return the problem document of an answer; a proxy's page has none."""
    try:
        body = response.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _faults(given: Any) -> list[Fault]:
    listed = given if isinstance(given, list) else []
    return [Fault(str(each.get("field")), str(each.get("detail"))) for each in listed if isinstance(each, dict)]


def _retry_after_s(response: httpx.Response) -> float | None:
    given = response.headers.get("retry-after", "")
    return float(given) if given.isascii() and given.isdigit() else None

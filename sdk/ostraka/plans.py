"""A call as a plan: a generator that yields what is to be done and is sent what came of it.

A plan does no input or output, so one description serves both clients: each has a loop of a few lines that performs
the steps, blocking or awaiting. Repeating after failures is part of the plan too, and so described once.
"""

import random
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import httpx

from ostraka import errors

T = TypeVar("T")

TRIES_MAX: Final = 4  # of one request, the first included
BACKOFF_S: Final = 0.1  # before the second try; doubled for each further one
PAUSE_S_MAX: Final = 10.0  # a server that asks for more patience gets its error passed on
JSON: Final = "application/json"


@dataclass(frozen=True)
class Request:
    """One HTTP request; ``repeatable`` says that sending it twice has the effect of sending it once."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None
    content_type: str = JSON
    idempotency_key: str | None = None
    hint: str | None = None  # requests that share it are best answered by the same host: it has opened what they need
    repeatable: bool = False
    wait_s: float = 0.0  # the server may take this much longer than usual, because it was asked to


@dataclass(frozen=True)
class Pause:
    """Do nothing for some seconds."""

    seconds: float


Outcome = httpx.Response | httpx.TransportError | None
"""What came of a step: an answer, why none came, or nothing (after a pause)."""

Plan = Generator[Request | Pause, Outcome, T]


def ask(request: Request, parse: Callable[[Any], T]) -> Plan[T]:
    """Send a request until it succeeds or must not be repeated, and return its parsed JSON answer.

    Raises ``OstrakaError``.
    """
    return understood((yield from deliver(request)), parse)


def understood(response: httpx.Response, parse: Callable[[Any], T]) -> T:
    """Return the parsed JSON of an answer. Raises ``ServerError`` for what no server of ours answers."""
    try:
        return parse(response.json())
    except (ValueError, KeyError, TypeError, AttributeError):
        raise errors.ServerError(
            "the answer is not one of an Ostraka server of this version; check the address",
            code="not_understood",
            status=response.status_code,
        ) from None


def deliver(request: Request, tries_max: int = TRIES_MAX) -> Plan[httpx.Response]:
    """Send a request, repeat it where that is safe, and return the successful answer. Raises ``OstrakaError``."""
    perhaps_done = False
    for tried in range(1, tries_max + 1):
        outcome = yield request
        if isinstance(outcome, httpx.Response) and outcome.is_success:
            return outcome
        error = _error(outcome)
        if (
            isinstance(error, errors.NotFound)
            and isinstance(outcome, httpx.Response)
            and _deleted(request, perhaps_done)
        ):
            return outcome
        refused = isinstance(error, errors.Overloaded) or isinstance(outcome, httpx.ConnectError)
        if tried == tries_max or not (refused or (request.repeatable and _passing(outcome))):
            raise error
        perhaps_done = perhaps_done or not refused
        pause_s = _pause_s(error, tried)
        if pause_s > PAUSE_S_MAX:
            raise error
        yield Pause(pause_s)
    raise AssertionError("unreachable: the last try returns or raises")


def _deleted(request: Request, perhaps_done: bool) -> bool:
    """Say whether "not found" means that an earlier try, whose answer was lost, has deleted it."""
    return perhaps_done and request.method == "DELETE"


def _passing(outcome: Outcome) -> bool:
    """Say whether a failure may be gone in a moment. A timeout is not: the caller's patience is spent."""
    if isinstance(outcome, httpx.Response):
        return outcome.status_code in {502, 503, 504}
    return not isinstance(outcome, httpx.TimeoutException)


def _pause_s(error: errors.OstrakaError, tried: int) -> float:
    """Return the seconds to wait: the server's wish, else growing, and never the same for two clients."""
    backoff: float = BACKOFF_S * 2 ** (tried - 1) * random.uniform(0.5, 1.5)  # noqa: S311 - spreads load, guards nothing
    asked_s = error.retry_after_s if isinstance(error, errors.Overloaded | errors.ServerError) else None
    return max(backoff, asked_s or 0.0)


def _error(outcome: Outcome) -> errors.OstrakaError:
    if isinstance(outcome, httpx.Response):
        return errors.from_answer(outcome)
    if isinstance(outcome, httpx.ConnectError):
        return errors.Unreachable("no server answers at this address; start it or correct url", code="unreachable")
    if isinstance(outcome, httpx.TimeoutException):
        return errors.Unreachable("no answer in time; raise timeout_s or look at the server", code="timeout")
    return errors.Unreachable(f"the connection broke: {type(outcome).__name__}; try again", code="connection_broken")

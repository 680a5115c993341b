"""Errors as RFC 9457 problem documents: one table from the core's errors to HTTP status codes."""

import math
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Final

import orjson
import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from api.rates import RateLimited
from api.requestids import HEADER, current_request_id
from core import errors, limits

log = structlog.get_logger()

MEDIA_TYPE: Final = "application/problem+json"
_DETAIL_CHARS_MAX: Final = 1_000  # names in a message may come from the request, and be as long as that
_FIELD_CHARS_MAX: Final = 200
_FAULTS_MAX: Final = 20  # of one answer
_FAULTS_SUMMED: Final = 5

# First match wins, so subclasses come before their parents.
STATUS: Final[tuple[tuple[type[errors.OstrakaError], int], ...]] = (
    (errors.TooLarge, 413),
    (errors.Malformed, 400),
    (errors.InvalidInput, 422),
    (errors.Unauthenticated, 401),
    (errors.Forbidden, 403),
    (errors.NotFound, 404),
    (errors.Conflict, 409),
    (errors.Busy, 429),
    (errors.Unavailable, 503),
    (errors.StaleGeneration, 503),
    (errors.IntegrityError, 500),
    (errors.OstrakaError, 500),
)


class FieldProblem(BaseModel):
    """One fault of a request, or one reason why the server is not ready."""

    field: str | None = Field(None, description="Of a request: what is at fault.")
    code: str | None = Field(None, description="Of the server: why it is not ready.")
    detail: str


class Problem(BaseModel):
    """An RFC 9457 problem document."""

    type: str = Field("about:blank", examples=["about:blank"])
    title: str = Field(examples=["Unprocessable Content"])
    status: int = Field(examples=[422])
    code: str = Field(description="Stable name of the problem; see docs/errors.md.", examples=["invalid_input"])
    detail: str = Field(description="What is wrong and what to do.", examples=["content: must not be blank"])
    request_id: str | None = Field(None, description="Names the request in the server's log.")
    errors: list[FieldProblem] = Field(default_factory=list)


def problem(
    status: int,
    code: str,
    detail: str,
    faults: list[dict[str, str]] | None = None,
    headers: dict[str, str] | None = None,
) -> Response:
    """Return a problem response."""
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "code": code,
        "detail": _cut(detail, _DETAIL_CHARS_MAX),
        "errors": [{name: _cut(text, _FIELD_CHARS_MAX) for name, text in fault.items()} for fault in faults or []],
    }
    if request_id := current_request_id():
        body["request_id"] = request_id
    return Response(orjson.dumps(body), status_code=status, media_type=MEDIA_TYPE, headers=headers)


def faults_in(error: ValidationError) -> Sequence[Any]:
    """Return a validation error's faults, or one that says how many: to list 100,000 stops the process for 0.3 s."""
    if error.error_count() > limits.FAULTS_MAX:
        return [{"type": "too_many_faults", "loc": (), "msg": f"has {error.error_count()} faults; correct it"}]
    return error.errors(include_url=False, include_input=False)


def faults_of(found: Sequence[Any]) -> list[dict[str, str]]:
    """Return the first faults of a validation, without the input they were found in."""
    faults = []
    for fault in found[:_FAULTS_MAX]:
        source, *place = [str(part) for part in fault["loc"]] or ["body"]
        if source not in {"body", "query", "path", "header"} or not place:
            place = [source, *place]
        faults.append({"field": ".".join(place), "detail": fault["msg"].removeprefix("Value error, ")})
    return faults


def summary_of(faults: list[dict[str, str]]) -> str:
    """Return the first faults in one line, bounded however long the names in them are."""
    named = (f"{_cut(fault['field'], _FIELD_CHARS_MAX)}: {fault['detail']}" for fault in faults[:_FAULTS_SUMMED])
    return _cut("; ".join(named), _DETAIL_CHARS_MAX)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return OpenAPI entries for the problems a route may answer, beyond those every route may."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {
        status: {"description": HTTPStatus(status).phrase, "content": content}
        for status in sorted({400, 401, 403, 413, 414, 422, 429, 500, 503, *statuses})
    }


async def _on_gone(_: Request, _error: Exception) -> Response:
    return problem(400, "caller_gone", "the connection ended before the body did")  # nobody is there to read it


def install(app: FastAPI) -> None:
    """Make every error of the application a problem document."""

    async def on_ostraka(_: Request, error: Exception) -> Response:
        assert isinstance(error, errors.OstrakaError)  # noqa: S101 - registered for this type only
        status = next(status for kind, status in STATUS if isinstance(error, kind))
        if status >= 500 and not isinstance(error, errors.Frozen | errors.DiskFull):  # the operator knows
            log.error("request_failed", code=error.reason)
        headers = {}
        if isinstance(error, errors.Busy | errors.Frozen | errors.DiskFull):
            headers["Retry-After"] = str(max(1, math.ceil(error.retry_after_s)))
        if isinstance(error, RateLimited):
            headers.update(error.verdict.headers())
        if status == 401:
            headers["WWW-Authenticate"] = 'Bearer realm="ostraka"'
        faults = [{"field": error.field, "detail": error.message}] if error.field else []
        return problem(status, error.reason, error.message, faults, headers)

    async def on_validation(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for this type only
        faults = faults_of(error.errors())
        if any(fault["type"] == "json_invalid" for fault in error.errors()):
            return problem(400, "malformed_json", "the body is not valid JSON; correct it", faults)
        return problem(422, errors.InvalidInput.code, summary_of(faults), faults)

    async def on_http(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101 - registered for this type only
        code = {404: "no_such_route", 405: "method_not_allowed", 400: "malformed_json"}.get(error.status_code, "http")
        headers = dict(error.headers) if error.headers else None
        return problem(error.status_code, code, str(error.detail), headers=headers)

    async def on_bug(_: Request, error: Exception) -> Response:
        log.error("request_crashed", error=type(error).__name__)
        # Answered outside of every layer of ours, so that the id is still to be told.
        told = {HEADER: current_request_id() or ""}
        return problem(500, errors.OstrakaError.code, "the server failed; its log names the kind of error", None, told)

    app.add_exception_handler(errors.OstrakaError, on_ostraka)
    app.add_exception_handler(RequestValidationError, on_validation)
    app.add_exception_handler(HTTPException, on_http)
    app.add_exception_handler(ClientDisconnect, _on_gone)
    app.add_exception_handler(Exception, on_bug)

"""API keys over the API: managed by the operator, and by administrators of their company.

An administrator manages the keys that reach no namespace beyond its own. Nobody hands on more than they hold.
"""

from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from api.access import Access
from api.answers import answer
from api.guardedroute import GuardedRoute
from api.paths import PathText
from api.problems import documented
from api.requestbody import RequestBody
from api.routes.dependencies import Caller
from core import limits
from core.clock import to_datetime
from core.errors import Forbidden, NotFound
from core.memory import Name
from core.records.apikeys import create_key, find_key, list_keys, revoke_key, rotate_key, split_key
from core.records.control import ControlStore
from core.records.grants import Grant, require_within
from core.records.keyroll import KeyRecord

router = APIRouter(prefix="/admin", tags=["admin"], route_class=GuardedRoute)


class NewKey(RequestBody):
    """What the key may do. More than the caller's own is refused."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"scopes": ["read"], "namespaces": ["agent-*"]}]})

    company: Name | None = Field(None, description="Whose key it is; another than the caller's is for the operator.")
    scopes: list[Literal["read", "write", "admin"]] = Field(min_length=1, max_length=3)
    namespaces: list[Name] = Field(min_length=1, max_length=limits.API_KEY_PATTERNS_MAX, description="Patterns.")
    expires_in_s: int | None = Field(None, strict=True, gt=0, le=limits.TTL_SECONDS_MAX)
    requests_per_s: float | None = Field(None, gt=0, le=1e6, description="Default: `[auth] requests_per_s`.")


class Rotation(RequestBody):
    """How a key is replaced."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"overlap_s": 3_600}]})

    overlap_s: int = Field(3_600, strict=True, ge=0, le=limits.API_KEY_ENDED_S, description="The old key goes on.")


class MadeKey(BaseModel):
    """A new key; it is not shown again."""

    id: str
    key: str = Field(examples=["ostraka_key_2xkz….…"])


class KeyView(BaseModel):
    """A key, without its secret."""

    id: str
    company: str
    scopes: list[str]
    namespaces: list[str]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    requests_per_s: float | None


class KeyList(BaseModel):
    """Keys, oldest first."""

    keys: list[KeyView]


@router.get("/keys", response_model=KeyList, responses=documented(404), summary="List API keys")
def list_all(
    request: Request, caller: Caller, company: Annotated[Name | None, Query(description="Only this company's.")] = None
) -> Response:
    """Return the keys that the caller manages; for the operator those of all companies, or of the one named."""
    control = _control(request)
    every = caller.operates and company is None
    keys = list_keys(control, None if every else _company(control, caller, company))
    return answer({"keys": [_view(key) for key in keys if _manages(caller, key.grant)]})


@router.post(
    "/keys", status_code=201, response_model=MadeKey, responses=documented(404, 409), summary="Make an API key"
)
def create(body: NewKey, request: Request, caller: Caller) -> Response:
    """Make a key and show it, once. With the first one, calls without a key are over for good."""
    control = _control(request)
    expires_at = None if body.expires_in_s is None else control.clock() + body.expires_in_s * 1_000_000
    company_id = _company(control, caller, body.company)
    grant = Grant(company_id, body.scopes, body.namespaces, expires_at, requests_per_s=body.requests_per_s)
    _require_within(request, caller, grant)
    return _made(caller, create_key(control, company_id, body.scopes, body.namespaces, expires_at, body.requests_per_s))


@router.post(
    "/keys/{key_id}/rotate",
    status_code=201,
    response_model=MadeKey,
    responses=documented(404, 409),
    summary="Replace an API key",
)
def rotate(key_id: PathText, body: Rotation, request: Request, caller: Caller) -> Response:
    """Make a key with the same rights and end as another, which goes on for the overlap only."""
    control = _control(request)
    _require_own(control, caller, key_id)

    def allowed(grant: Grant) -> None:
        _require_within(request, caller, grant)

    return _made(caller, rotate_key(control, key_id, body.overlap_s * 1_000_000, allowed))


@router.delete("/keys/{key_id}", status_code=204, responses=documented(404), summary="Revoke an API key")
def revoke(key_id: PathText, request: Request, caller: Caller) -> Response:
    """Revoke a key; it stops working within a second."""
    control = _control(request)
    _require_own(control, caller, key_id)
    revoke_key(control, key_id)
    return Response(status_code=204)


def _control(request: Request) -> ControlStore:
    control: ControlStore = request.app.state.runtime.control
    return control


def _company(control: ControlStore, caller: Access, name: str | None) -> str:
    """Return the id of the company that is meant. Raises ``Forbidden``, ``NotFound``."""
    if name is None:
        return caller.principal.company_id
    if not caller.operates:
        raise Forbidden("keys of other companies are the operator's; name no company", code="operator_only")
    caller.trail.company = control.find_company(name).id
    return caller.trail.company


def _require_within(request: Request, caller: Access, grant: Grant) -> None:
    """Raise ``Forbidden`` when the caller would hand on more than it holds; the operator does so to every company."""
    minter = replace(caller.principal, company_id=grant.company_id) if caller.operates else caller.principal
    require_within(minter, grant, request.app.state.runtime.settings.auth.requests_per_s)


def _manages(caller: Access, grant: Grant) -> bool:
    return caller.operates or caller.principal.oversees(grant)


def _require_own(control: ControlStore, caller: Access, key_id: str) -> None:
    """Raise ``NotFound`` unless the key is one that the caller manages."""
    found = find_key(control, key_id)
    if not _manages(caller, found.grant):
        raise NotFound("there is no such key, or it is revoked already", field="key_id")
    caller.trail.company, caller.trail.target = found.grant.company_id, found.id


def _made(caller: Access, key: str) -> Response:
    caller.trail.target = split_key(key)[0]
    return answer({"id": caller.trail.target, "key": key}, 201)


def _view(key: KeyRecord) -> dict[str, Any]:
    grant = key.grant
    return {
        "id": key.id,
        "company": grant.company_id,
        "scopes": grant.scopes,
        "namespaces": grant.patterns,
        "created_at": to_datetime(key.created_at),
        "expires_at": _moment(grant.expires_at),
        "revoked_at": _moment(grant.revoked_at),
        "requests_per_s": grant.requests_per_s,
    }


def _moment(us: int | None) -> datetime | None:
    return None if us is None else to_datetime(us)

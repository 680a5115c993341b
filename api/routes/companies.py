"""Companies, for the operator. A path names one by its opaque id: ids stand in logs, names never do."""

from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field, model_validator
from starlette.responses import Response

from api.answers import answer
from api.guardedroute import GuardedRoute
from api.paths import PathText
from api.problems import documented
from api.requestbody import RequestBody
from api.routes.dependencies import Caller
from core import limits
from core.clock import to_datetime
from core.errors import Conflict
from core.memory import Name
from core.pipeline.doorbell import QUEUES
from core.records.companies import Company
from core.records.lifecycle import change_terms
from core.records.terms import Terms
from core.records.usage import read_usage
from core.runtime import Runtime

router = APIRouter(prefix="/admin", tags=["admin"], route_class=GuardedRoute)

_Amount = Annotated[int, Field(strict=True, ge=0, le=limits.QUOTA_MAX)]
_Rate = Annotated[float, Field(gt=0, le=limits.QUOTA_MAX)]


class _Bounds(RequestBody):
    """What a company may use."""

    memories_max: _Amount | None = Field(None, description="Rows it may keep, versions included. Null: no bound.")
    bytes_max: _Amount | None = Field(None, description="Bytes of them, before they are sealed. Null: no bound.")
    requests_per_s: _Rate | None = Field(None, description="Of all its keys together. Null: no bound.")


class NewCompany(_Bounds):
    """A company to make."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "acme"}]})

    name: Name


class CompanyChange(_Bounds):
    """What to change; fields that are not sent keep their value."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"suspended": True}]})

    suspended: bool = Field(False, strict=True, description="Refuse its requests and leave its work alone.")

    @model_validator(mode="after")
    def _something(self) -> "CompanyChange":
        if not self.model_fields_set:
            raise ValueError("names nothing to change; send at least one field")
        return self


class CompanyEnd(RequestBody):
    """Which company goes, once more: nothing brings it back."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "acme"}]})

    name: Name


class CompanyView(BaseModel):
    """A company and what it may use."""

    id: str = Field(examples=["co_2xkz…"])
    name: str
    created_at: datetime
    suspended: bool
    memories_max: int | None
    bytes_max: int | None
    requests_per_s: float | None


class CompanyUse(CompanyView):
    """A company, and what it uses."""

    memories: int = Field(description="Rows that are not deleted, versions included.")
    bytes: int = Field(description="Of them, before they are sealed.")


class CompanyList(BaseModel):
    """Every company, oldest first."""

    companies: list[CompanyView]


class CompanyDeparture(BaseModel):
    """A company that is gone: nothing opens its data any more. What is false is finished by maintenance."""

    id: str
    key_erased: bool = Field(description="No file of the control store holds its wrapped key any more.")
    files_removed: bool


@router.get("/companies", response_model=CompanyList, responses=documented(), summary="List companies")
def list_all(request: Request) -> Response:
    """Return every company with its terms."""
    return answer({"companies": [_view(company) for company in _runtime(request).control.companies()]})


@router.post(
    "/companies", status_code=201, response_model=CompanyView, responses=documented(409), summary="Create a company"
)
def create(body: NewCompany, request: Request, caller: Caller) -> Response:
    """Create a company with its own directory and key."""
    terms = Terms(memories_max=body.memories_max, bytes_max=body.bytes_max, requests_per_s=body.requests_per_s)
    company = _runtime(request).control.create_company(body.name, terms)
    caller.trail.company = company.id
    return answer(_view(company), 201)


@router.get("/companies/{company_id}", response_model=CompanyUse, responses=documented(404), summary="Read a company")
def get(company_id: PathText, request: Request, caller: Caller) -> Response:
    """Return a company with its terms, and what it uses."""
    control = _runtime(request).control
    company = control.company(company_id)
    caller.trail.company = company.id
    with control.records(company.id).database.read() as connection:
        usage = read_usage(connection)
    return answer({**_view(company), "memories": usage.rows, "bytes": usage.bytes})


@router.patch(
    "/companies/{company_id}", response_model=CompanyView, responses=documented(404, 409), summary="Change a company"
)
def change(company_id: PathText, body: CompanyChange, request: Request, caller: Caller) -> Response:
    """Bound, suspend or resume a company; every process knows within a second. Null lifts a bound."""
    runtime = _runtime(request)
    company = runtime.control.company(company_id)
    caller.trail.company = company.id
    terms = change_terms(runtime.control, company_id, **body.model_dump(include=body.model_fields_set))
    if not terms.suspended:
        for queue in QUEUES:
            runtime.doorbell.ring(queue, company_id)
    return answer(_view(replace(company, terms=terms)))


@router.delete(
    "/companies/{company_id}",
    response_model=CompanyDeparture,
    responses=documented(404, 409),
    summary="Delete a company",
)
def delete(company_id: PathText, body: CompanyEnd, request: Request, caller: Caller) -> Response:
    """Destroy a company's key, then everything of it. The name confirms that it is the one that is meant."""
    runtime = _runtime(request)
    company = runtime.control.company(company_id)
    caller.trail.company = company.id
    if company.name != body.name:
        raise Conflict("the company has another name; look once more which one you mean", field="name")
    departure = runtime.delete_company(company_id)
    return answer({"id": company_id, "key_erased": departure.key_erased, "files_removed": departure.files_removed})


def _runtime(request: Request) -> Runtime:
    runtime: Runtime = request.app.state.runtime
    return runtime


def _view(company: Company) -> dict[str, Any]:
    created_at = to_datetime(company.created_at)
    return {"id": company.id, "name": company.name, "created_at": created_at, **company.terms.__dict__}

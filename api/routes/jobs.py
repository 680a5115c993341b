"""Jobs: where accepted memories are on their way."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from api.access import Access
from api.answers import answer
from api.cursors import decode_cursor, encode_cursor
from api.guardedroute import GuardedRoute
from api.paths import PathText
from api.problems import documented
from api.routes.dependencies import Caller
from api.schemas import Job, JobPage, job_body
from core import limits
from core.errors import NotFound
from core.records.reading import JobState, JobView, get_job, list_jobs
from core.records.retries import retry_failed
from core.records.tables import Lane

router = APIRouter(prefix="/v1", tags=["jobs"], route_class=GuardedRoute)


@router.get("/jobs", response_model=JobPage, responses=documented(), summary="List jobs")
def list_page(
    caller: Caller,
    state: Annotated[JobState | None, Query(description="Only jobs in this state.")] = None,
    cursor: Annotated[str | None, Query(description="From the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=limits.PAGE_LIMIT_MAX)] = 50,
) -> Response:
    """Return jobs, newest first, of the namespaces that the credential covers."""
    wanted = caller.listed()
    page = list_jobs(caller.tenant.records, namespace_ids=wanted, after=decode_cursor(cursor), limit=limit, state=state)
    more = encode_cursor(page[-1].row) if len(page) == limit else None
    seen = [job_body(job) for job in page if caller.principal.covers(job.namespace)]
    return answer({"jobs": seen, "next_cursor": more})


@router.get("/jobs/{job_id}", response_model=Job, responses=documented(404), summary="Read a job")
def get(job_id: PathText, caller: Caller) -> Response:
    """Return a job with its true counts; `indexed` and `failed` are its end states."""
    return answer(job_body(_job(caller, job_id)))


@router.post("/jobs/{job_id}/retry", response_model=Job, responses=documented(404), summary="Retry what failed")
def retry(job_id: PathText, caller: Caller) -> Response:
    """Send the failed memories of a job through the pipeline again."""
    job = _job(caller, job_id)
    retry_failed(caller.tenant.records, job.row)
    caller.tenant.ring(set(Lane))
    return answer(job_body(get_job(caller.tenant.records, job_id)))


def _job(caller: Access, job_id: str) -> JobView:
    """Return a job of a namespace that the credential covers; others do not exist for it."""
    job = get_job(caller.tenant.records, job_id)
    if not caller.principal.covers(job.namespace):
        raise NotFound("there is no such job", field="job_id")
    return job

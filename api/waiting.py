"""Waiting for a job on behalf of a caller who wants to read what was just written."""

import asyncio
import time
from collections.abc import Callable
from typing import Final

from anyio import to_thread

from core.records.company import CompanyRecords
from core.records.reading import JobView, get_job

_LOOK_EVERY_S: Final = 0.02  # an idle add is searchable after some tens of milliseconds


async def wait_for_job(records: CompanyRecords, job_id: str, wait_s: float, stopping: Callable[[], bool]) -> JobView:
    """Return the job once it is done, or as it is when the time is up or the server stops. Raises ``NotFound``."""
    deadline = time.monotonic() + wait_s
    while True:
        job = await to_thread.run_sync(get_job, records, job_id)
        if job.finished_at is not None or time.monotonic() >= deadline or stopping():
            return job
        await asyncio.sleep(_LOOK_EVERY_S)

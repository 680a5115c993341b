"""Waiting until what was written is searchable."""

import time
from typing import Final

from ostraka.answers import Job
from ostraka.calls import job
from ostraka.errors import JobTimeout
from ostraka.plans import Pause, Plan

_LOOK_AFTER_S: Final = 0.02  # a single memory is searchable after some tens of milliseconds
_LOOK_EVERY_S_MAX: Final = 1.0


def wait(job_id: str, *, timeout_s: float = 60.0) -> Plan[Job]:
    """Return a job once it has reached an end state; look at its ``failed`` and ``errors``.

    Raises ``JobTimeout`` after ``timeout_s`` seconds (the job goes on), ``NotFound``.
    """
    deadline = time.monotonic() + timeout_s
    pause_s = _LOOK_AFTER_S
    while True:
        seen = yield from job(job_id)
        if seen.finished_at is not None:
            return seen
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            raise JobTimeout(
                f"job {job_id} is {seen.state} after {timeout_s:g} s, {seen.indexed} of {seen.accepted} memories are "
                "searchable; wait longer, or look at the server's health",
                code="job_timeout",
            )
        yield Pause(min(pause_s, left_s))
        pause_s = min(pause_s * 1.5, _LOOK_EVERY_S_MAX)

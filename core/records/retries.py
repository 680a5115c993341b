"""Sending failed memories through the pipeline again."""

from sqlalchemy import update

from core.records.company import CompanyRecords
from core.records.tables import State, jobs, memories


def retry_failed(records: CompanyRecords, job_row: int) -> int:
    """Make the failed memories of a job pending again, with no attempts counted; return how many."""
    with records.database.write() as connection:
        count = connection.execute(
            update(memories)
            .where(memories.c.job_id == job_row, memories.c.state == State.FAILED)
            .values(state=State.PENDING, error=None, attempts=0, sealed_vectors=None, lease=None, lease_until=None)
        ).rowcount
        if count:
            connection.execute(update(jobs).where(jobs.c.id == job_row).values(finished_at=None))
    return count

"""Sending failed memories through the pipeline again."""

from collections.abc import Iterable

from sqlalchemy import or_, select, update

from core.records.claims import in_chunks
from core.records.company import CompanyRecords
from core.records.tables import State, jobs, memories


def retry_failed(records: CompanyRecords, job_row: int) -> int:
    """Make the failed memories of a job pending again; return how many."""
    statement = select(memories.c.id).where(memories.c.job_id == job_row, memories.c.state == State.FAILED)
    with records.database.read() as connection:
        rows = list(connection.execute(statement).scalars())
    return retry_rows(records, rows)


def retry_rows(records: CompanyRecords, rows: Iterable[int]) -> int:
    """Make failed rows pending again, with no attempts counted, and reopen their jobs; return how many.

    A version that was replaced stays replaced: it goes into the history. Rows that have not failed, or whose time has
    run out, are left.
    """
    total = 0
    for ids in in_chunks(rows):
        now = records.clock()
        alive = or_(memories.c.expires_at.is_(None), memories.c.expires_at > now)
        with records.database.write() as connection:
            retried = connection.execute(
                update(memories)
                .where(memories.c.id.in_(ids), memories.c.state == State.FAILED, alive)
                .values(state=State.PENDING, error=None, attempts=0, sealed_vectors=None, lease=None, lease_until=None)
                .returning(memories.c.job_id)
            ).scalars()
            moving = list(retried)
            total += len(moving)
            for touched in in_chunks(set(moving)):
                connection.execute(update(jobs).where(jobs.c.id.in_(touched)).values(finished_at=None))
    return total

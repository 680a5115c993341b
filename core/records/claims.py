"""Claims: how a worker takes pending memories, and how it gives them back embedded or failed.

A claim is a lease on rows: a random token and a deadline. Results are accepted only from the token that still
holds the row, so a worker that was paused past its lease cannot overwrite the one that took over.
"""

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, Row, bindparam, func, or_, select, update

from core import limits
from core.ids import new_id
from core.records.tables import Lane, State, jobs, memories

_IDS_PER_STATEMENT = 500


def claim_pending(
    connection: Connection,
    lane: Lane,
    *,
    now: int,
    lease_us: int,
    limit: int,
    bytes_max: int = limits.EMBED_CLAIM_BYTES,
) -> tuple[str, Sequence[Row[Any]]]:
    """Lease pending rows of a lane, oldest first; return the token and the rows.

    At most ``limit`` rows and, beyond the first, ``bytes_max`` bytes, so that a batch ends before its lease does.
    The attempt is counted here, before the work, so that a row that kills its worker is counted too.
    """
    token = new_id("lease")
    free = or_(memories.c.lease_until.is_(None), memories.c.lease_until <= now)
    waiting = connection.execute(
        select(memories.c.id, memories.c.bytes)
        .where(memories.c.state == State.PENDING, memories.c.lane == lane, free)
        .order_by(memories.c.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    ).all()
    totals = itertools.accumulate(row.bytes for row in waiting)
    wanted = [
        row.id
        for place, (row, total) in enumerate(zip(waiting, totals, strict=True))
        if not place or total <= bytes_max
    ]
    rows: list[Row[Any]] = []
    for ids in in_chunks(wanted):
        rows += connection.execute(
            update(memories)
            .where(memories.c.id.in_(ids))
            .values(lease=token, lease_until=now + lease_us, attempts=memories.c.attempts + 1)
            .returning(memories.c.id, memories.c.namespace_id, memories.c.attempts, memories.c.sealed)
        ).all()
    return token, sorted(rows, key=lambda row: row.id)


def store_vectors(connection: Connection, token: str, vectors: Sequence[tuple[int, bytes]], fingerprint: str) -> int:
    """Store sealed vectors of claimed rows; return how many were still ours (the others are silently dropped)."""
    if not vectors:
        return 0
    result = connection.execute(
        update(memories)
        .where(memories.c.id == bindparam("row"), memories.c.lease == token, memories.c.state == State.PENDING)
        .values(
            state=State.EMBEDDED,
            sealed_vectors=bindparam("sealed_blob"),
            fingerprint=fingerprint,
            lease=None,
            lease_until=None,
            error=None,
        ),
        [{"row": row, "sealed_blob": sealed} for row, sealed in vectors],
    )
    return result.rowcount


def fail_claimed(connection: Connection, token: str, rows: Iterable[int], reason: str, now: int) -> None:
    """End claimed rows as failed, with a reason that says nothing of their content."""
    for ids in in_chunks(rows):
        connection.execute(
            update(memories)
            .where(memories.c.id.in_(ids), memories.c.lease == token, memories.c.state == State.PENDING)
            .values(state=State.FAILED, error=reason, lease=None, lease_until=None)
        )
    finish_jobs(connection, rows, now)


def release_claim(connection: Connection, token: str, retry_at: int | None = None) -> None:
    """Give claimed rows back: at once, or not before ``retry_at`` (backoff)."""
    connection.execute(
        update(memories)
        .where(memories.c.lease == token, memories.c.state == State.PENDING)
        .values(lease=None, lease_until=retry_at)
    )


def finish_jobs(connection: Connection, rows: Iterable[int], now: int) -> None:
    """Mark the jobs of ``rows`` finished where no row of theirs is still on its way."""
    touched: set[int] = set()
    for ids in in_chunks(rows):
        touched.update(connection.execute(select(memories.c.job_id).where(memories.c.id.in_(ids)).distinct()).scalars())
    moving = (
        select(memories.c.id)
        .where(memories.c.job_id == jobs.c.id, memories.c.state.in_([State.PENDING, State.EMBEDDED]))
        .exists()
    )
    for ids in in_chunks(touched):
        connection.execute(
            update(jobs).where(jobs.c.id.in_(ids), jobs.c.finished_at.is_(None), ~moving).values(finished_at=now)
        )


def has_pending(connection: Connection, lane: Lane, now: int) -> bool:
    """Say whether a lane holds rows that nobody has claimed."""
    free = or_(memories.c.lease_until.is_(None), memories.c.lease_until <= now)
    statement = select(memories.c.id).where(memories.c.state == State.PENDING, memories.c.lane == lane, free)
    return connection.execute(statement.limit(1)).first() is not None


def count_pending(connection: Connection, lane: Lane) -> tuple[int, int | None]:
    """Return how many rows of a lane are pending, claimed or not, and when the oldest was accepted."""
    row = connection.execute(
        select(func.count(), func.min(memories.c.created_at)).where(
            memories.c.state == State.PENDING, memories.c.lane == lane
        )
    ).one()
    return row[0], row[1]


def in_chunks(rows: Iterable[int]) -> Iterable[list[int]]:
    """Yield ids in lists that fit a statement's parameters."""
    ids = list(rows)
    for start in range(0, len(ids), _IDS_PER_STATEMENT):
        yield ids[start : start + _IDS_PER_STATEMENT]

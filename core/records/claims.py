"""Claims: how a worker takes pending memories, and how it gives them back embedded or failed.

A claim is a lease on rows: a random token and a deadline. Results are accepted only from the token that still
holds the row, so a worker that was paused past its lease cannot overwrite the one that took over.
"""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, bindparam, or_, select, update

from core import limits
from core.ids import new_id
from core.records.deadlines import holds
from core.records.tables import Lane, State, jobs, memories

_IDS_PER_STATEMENT = 500


@dataclass(frozen=True)
class Claim:
    """Rows leased under one token: those to work on, all tried equally often, and those tried too often already."""

    token: str
    rows: Sequence[Row[Any]]
    exhausted: Sequence[int]
    taken_over: int = 0  # of them, from whoever held them until the lease ran out


def batch_rows_for(attempts: int, attempts_max: int, batch_rows: int) -> int:
    """Return how many rows that were tried ``attempts`` times, and did not end, are tried together now.

    All at first; then ever fewer, at most half of the time before, so that a row that kills its worker takes ever
    fewer with it; the last time each alone, so that none fails for what another did.
    """
    if attempts >= attempts_max - 1:
        return 1
    even: float = batch_rows ** (1 - attempts / (attempts_max - 1))
    return max(1, min(round(even), batch_rows >> attempts))


def claim_pending(
    connection: Connection,
    lane: Lane,
    *,
    now: int,
    lease_us: int,
    limit: int,
    attempts_max: int,
    fresh_only: bool = False,
    bytes_max: int = limits.EMBED_CLAIM_BYTES,
) -> Claim:
    """Lease pending rows of a lane, oldest first, those that were tried as often as the oldest.

    At most :func:`batch_rows_for` rows of ``limit`` and, beyond the first, ``bytes_max`` bytes, so that a batch ends
    before its lease does. The attempt is counted here, before the work, so that a row that kills its worker is
    counted too. ``fresh_only`` claims none when the oldest was tried before.
    """
    token = new_id("lease")
    waiting = connection.execute(
        select(memories.c.id, memories.c.attempts, memories.c.bytes, memories.c.lease)
        .where(*_claimable(lane, now))
        .order_by(memories.c.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    ).all()
    exhausted = [row.id for row in waiting if row.attempts >= attempts_max]
    left = [row for row in waiting if row.attempts < attempts_max]
    attempts = left[0].attempts if left else 0
    alike = [row for row in left if row.attempts == attempts and not (fresh_only and attempts)]
    wanted = _within(bytes_max, alike[: batch_rows_for(attempts, attempts_max, limit)])
    rows = _lease(connection, token, wanted, until=now + lease_us, attempts=1)
    _lease(connection, token, exhausted, until=now + lease_us, attempts=0)
    leased = {*wanted, *exhausted}
    return Claim(token, rows, exhausted, sum(row.lease is not None for row in waiting if row.id in leased))


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


def release_claim(
    connection: Connection, token: str, rows: Iterable[int], *, retry_at: int | None = None, counted: bool = False
) -> None:
    """Give claimed rows back: at once, or not before ``retry_at``.

    The attempt is taken back, because the rows were not at fault; ``counted`` keeps it, because they may have been.
    """
    values: dict[str, Any] = {"lease": None, "lease_until": retry_at}
    if not counted:
        values["attempts"] = memories.c.attempts - 1
    for ids in in_chunks(rows):
        connection.execute(
            update(memories)
            .where(memories.c.id.in_(ids), memories.c.lease == token, memories.c.state == State.PENDING)
            .values(**values)
        )


def finish_jobs(connection: Connection, rows: Iterable[int], now: int) -> None:
    """Mark the jobs of ``rows`` finished where no row of theirs is still on its way.

    Not in a shared write: of two at a time each might take the other's rows to be on their way yet.
    """
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
    return next_attempts(connection, lane, now) is not None


def next_attempts(connection: Connection, lane: Lane, now: int) -> int | None:
    """Return how often the row that comes next in a lane was tried; ``None`` when there is none to claim."""
    statement = select(memories.c.attempts).where(*_claimable(lane, now)).order_by(memories.c.id)
    return connection.execute(statement.limit(1)).scalar()


def in_chunks(rows: Iterable[int]) -> Iterable[list[int]]:
    """Yield ids in lists that fit a statement's parameters."""
    ids = list(rows)
    for start in range(0, len(ids), _IDS_PER_STATEMENT):
        yield ids[start : start + _IDS_PER_STATEMENT]


def _claimable(lane: Lane, now: int) -> tuple[ColumnElement[bool], ...]:
    free = or_(memories.c.lease_until.is_(None), ~holds(memories.c.lease_until, now))
    return memories.c.state == State.PENDING, memories.c.lane == lane, free


def _within(bytes_max: int, rows: Sequence[Any]) -> list[int]:
    """Return the ids of the first row and of those after it that fit together."""
    totals = itertools.accumulate(row.bytes for row in rows)
    return [
        row.id for place, (row, total) in enumerate(zip(rows, totals, strict=True)) if not place or total <= bytes_max
    ]


def _lease(connection: Connection, token: str, rows: Iterable[int], *, until: int, attempts: int) -> list[Row[Any]]:
    leased: list[Row[Any]] = []
    for ids in in_chunks(rows):
        leased += connection.execute(
            update(memories)
            .where(memories.c.id.in_(ids))
            .values(lease=token, lease_until=until, attempts=memories.c.attempts + attempts)
            .returning(memories.c.id, memories.c.namespace_id, memories.c.attempts, memories.c.sealed)
        ).all()
    return sorted(leased, key=lambda row: row.id)

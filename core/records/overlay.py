"""The overlay: rows deleted or closed since the shards that hold them were built. Searches mask them."""

from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from core.records.tables import State, deletions, memories


@dataclass(frozen=True)
class Masked:
    """One row of the overlay. ``forward``: its successor is not searchable yet, so hits pass on to it."""

    deleted: bool
    closed_at: int | None
    forward: bool


def masked_rows(connection: Connection, namespace_id: int) -> dict[int, Masked]:
    """Return the overlay of a namespace, by row id."""
    successor = memories.alias("successor")
    rows = connection.execute(
        select(memories.c.id, memories.c.state, memories.c.closed_at, successor.c.state.label("next"))
        .outerjoin(successor, successor.c.id == memories.c.closed_by)
        .where(memories.c.namespace_id == namespace_id, memories.c.overlay)
    )
    return {
        row.id: Masked(
            deleted=row.state == State.DELETED,
            closed_at=row.closed_at,
            forward=row.state != State.DELETED and row.next not in {State.INDEXED, State.DELETED, None},
        )
        for row in rows
    }


def purge_overdue(connection: Connection, namespace_id: int, now: int, purge_us: int) -> bool:
    """Say whether shards must be rewritten now, so that every deleted row leaves them by its deadline.

    Half of the time is over: the other half is for building, for readers of the replaced shards, and for trouble.
    Rows that nobody deleted, whose time ran out, have no receipt that names a deadline: they get ``purge_us``.
    """
    promised = (deletions.c.created_at + deletions.c.purge_due_at) // 2
    begins_at = func.coalesce(promised, memories.c.deleted_at + purge_us // 2)
    found = connection.execute(
        select(memories.c.id)
        .outerjoin(deletions, deletions.c.id == memories.c.deletion_id)
        .where(
            memories.c.namespace_id == namespace_id,
            memories.c.overlay,
            memories.c.state == State.DELETED,
            begins_at <= now,
        )
        .limit(1)
    ).first()
    return found is not None

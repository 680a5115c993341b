"""The overlay: rows deleted or closed since the shards that hold them were built. Searches mask them."""

from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from core.records.tables import State, memories

PURGE_DEADLINE_S = 3_600  # masked rows leave the shards within this time


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


def purge_overdue(connection: Connection, namespace_id: int, now: int) -> bool:
    """Say whether a deleted row has been masked for longer than the purge deadline."""
    oldest = connection.execute(
        select(func.min(memories.c.deleted_at)).where(
            memories.c.namespace_id == namespace_id, memories.c.overlay, memories.c.state == State.DELETED
        )
    ).scalar()
    return oldest is not None and now - oldest >= PURGE_DEADLINE_S * 1_000_000

"""What a company's record store holds, in a few numbers: for metrics, and for what decides how many workers run."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, func, select

from core.records.backlog import lane_loads, oldest_embedded_at, oldest_pending_at
from core.records.ledger import Balance, read_ledger, total
from core.records.tables import Lane, State, namespaces, shards

_TIERS: Final = select(shards.c.tier, func.count()).where(shards.c.retired_at.is_(None)).group_by(shards.c.tier)
_GENERATIONS: Final = select(namespaces.c.id, namespaces.c.generation).where(namespaces.c.deleted_at.is_(None))
_QUARANTINED: Final = select(func.count()).where(shards.c.retired_at.is_(None), shards.c.quarantined_at.is_not(None))


@dataclass(frozen=True)
class QueueFigures:
    """How much waits for a stage, and since when (in microseconds since the epoch) the oldest of it."""

    rows: float
    oldest_at: int | None


@dataclass(frozen=True)
class Holdings:
    """Where the rows of a company are, and how many live shards it has of each tier."""

    balance: Balance
    shards: Mapping[int, int]
    quarantined: int


def read_queues(connection: Connection) -> dict[str, QueueFigures]:
    """Return what waits to be embedded, in each lane, and to be flushed; claimed or not. It costs next to nothing."""
    pending, embedded = lane_loads(connection, State.PENDING), lane_loads(connection, State.EMBEDDED)
    return {
        "embed": QueueFigures(pending[Lane.INTERACTIVE].rows, oldest_pending_at(connection, Lane.INTERACTIVE)),
        "embed-bulk": QueueFigures(pending[Lane.BULK].rows, oldest_pending_at(connection, Lane.BULK)),
        "index": QueueFigures(sum(load.rows for load in embedded.values()), oldest_embedded_at(connection)),
    }


def read_holdings(connection: Connection) -> Holdings:
    """Return what a company holds; a million rows take a good part of a second."""
    tiers = {int(tier): int(count) for tier, count in connection.execute(_TIERS)}
    quarantined = connection.execute(_QUARANTINED).scalar_one()
    return Holdings(total(read_ledger(connection).values()), tiers, quarantined)


def read_generations(connection: Connection) -> dict[int, int]:
    """Return the generation of every live namespace, by its row id."""
    return {row.id: row.generation for row in connection.execute(_GENERATIONS)}

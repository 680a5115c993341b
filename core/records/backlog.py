"""The backlog: how much is on its way in each lane, and what stands at the head of each queue."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Row, func, select

from core.records.deadlines import AHEAD_US_MAX
from core.records.tables import Lane, State, memories

_LOOK_ROWS: Final = 1_000  # those in front are claimed or wait to be tried again: a few batches of them


@dataclass(slots=True)  # not frozen: each write makes some, and freezing costs half of that
class Load:
    """An amount of memories: how many, and the bytes of their content."""

    rows: float = 0
    bytes: float = 0

    def __add__(self, other: "Load") -> "Load":
        return Load(self.rows + other.rows, self.bytes + other.bytes)

    def __sub__(self, other: "Load") -> "Load":
        return Load(self.rows - other.rows, self.bytes - other.bytes)

    def exceeds(self, bound: "Load") -> bool:
        """Say whether it is more than a bound by either measure."""
        return self.rows > bound.rows or self.bytes > bound.bytes


@dataclass(frozen=True)
class Head:
    """The oldest row that waits for a stage: to be embedded (one head for each lane), or flushed (and namespace)."""

    state: State
    lane: Lane
    namespace_id: int | None
    row: int
    accepted_at: int


def lane_loads(connection: Connection, *states: State) -> dict[Lane, Load]:
    """Return how much is in some of the states on the way: pending, embedded."""
    found = dict.fromkeys(Lane, Load())
    for state in states:
        counted = select(memories.c.lane, func.count(), func.sum(memories.c.bytes)).where(memories.c.state == state)
        for lane, rows, size in connection.execute(counted.group_by(memories.c.lane)):
            found[Lane(lane)] += Load(int(rows), int(size))
    return found


def oldest_pending_at(connection: Connection, lane: Lane) -> int | None:
    """Return when the row that has waited longest to be embedded was accepted, claimed or not."""
    statement = select(memories.c.created_at).where(memories.c.state == State.PENDING, memories.c.lane == lane)
    return connection.execute(statement.order_by(memories.c.id).limit(1)).scalar()


def oldest_embedded_at(connection: Connection) -> int | None:
    """Return when the row that has waited longest among those to be flushed was accepted."""
    return min((head.accepted_at for head in _flush_heads(connection)), default=None)


def origin_of(connection: Connection, row: int) -> tuple[Lane, int]:
    """Return the lane that a row came by, and when it was accepted."""
    found = connection.execute(select(memories.c.lane, memories.c.created_at).where(memories.c.id == row)).one()
    return Lane(found.lane), found.created_at


def due_heads(connection: Connection, now: int) -> list[Head]:
    """Return the heads that nobody works on.

    A lane in which somebody holds a claim has none; rows that are to be tried again later are passed over.
    """
    lanes = [head for lane in Lane if (head := _free_head(lane, _front(connection, lane), now))]
    return [*lanes, *_flush_heads(connection)]


def _front(connection: Connection, lane: Lane) -> Sequence[Any]:
    columns = (memories.c.id, memories.c.created_at, memories.c.lease, memories.c.lease_until)
    statement = select(*columns).where(memories.c.state == State.PENDING, memories.c.lane == lane)
    return connection.execute(statement.order_by(memories.c.id).limit(_LOOK_ROWS)).all()


def _free_head(lane: Lane, front: Sequence[Row[Any]], now: int) -> Head | None:
    held_back = {
        row.id: row.lease
        for row in front
        if row.lease_until is not None and now < row.lease_until <= now + AHEAD_US_MAX
    }
    if any(held_back.values()):
        return None
    free = (row for row in front if row.id not in held_back)
    return next((Head(State.PENDING, lane, None, row.id, row.created_at) for row in free), None)


def _flush_heads(connection: Connection) -> list[Head]:
    # By namespace and lane, as the index is ordered: the least id of all would be looked for row by row.
    columns = (
        memories.c.namespace_id,
        memories.c.lane,
        func.min(memories.c.id).label("row"),
        func.min(memories.c.created_at).label("accepted_at"),
    )
    rows = connection.execute(
        select(*columns).where(memories.c.state == State.EMBEDDED).group_by(memories.c.namespace_id, memories.c.lane)
    )
    return [Head(State.EMBEDDED, Lane(row.lane), row.namespace_id, row.row, row.accepted_at) for row in rows]

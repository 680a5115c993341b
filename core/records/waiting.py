"""Embedded rows that no shard holds yet, and whether more are on their way."""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, func, select

from core import limits
from core.records.ranges import Free, count_free, select_embedded
from core.records.tables import IS_EMBEDDED, Lane, State, memories

_ARRIVING_S: Final = 2.0  # after a bulk call with vectors, another one is expected for this long


@dataclass(frozen=True)
class Waiting:
    """Embedded rows of one namespace that no shard holds yet."""

    namespace_id: int
    interactive: int
    bulk: int  # those that one claim can take, no more of them counted than make a shard
    bulk_coming: bool  # more bulk rows of this namespace are still to be embedded, or arrive embedded
    bulk_first: int = 0  # the oldest of them that lie together, counted likewise
    bulk_oldest: int = 0  # the id of the oldest that no worker builds a shard of


def waiting_namespaces(connection: Connection, now: int) -> list[Waiting]:
    """Return, for each namespace with embedded rows, how many wait in each lane."""
    rows = connection.execute(
        select(memories.c.namespace_id, memories.c.lane, func.count())
        .where(IS_EMBEDDED)
        .group_by(memories.c.namespace_id, memories.c.lane)
    ).all()
    counts = {(row[0], row[1]): row[2] for row in rows}
    result = []
    for namespace_id in sorted({row[0] for row in rows}):
        interactive = counts.get((namespace_id, Lane.INTERACTIVE), 0)
        free = Free()
        if (namespace_id, Lane.BULK) in counts:
            free = count_free(connection, namespace_id, limits.BULK_SHARD_ROWS, now)
        coming = free.most > 0 and (
            has_bulk(connection, namespace_id, State.PENDING) or _arriving(connection, namespace_id, now)
        )
        result.append(Waiting(namespace_id, interactive, free.most, coming, free.first, free.oldest))
    return result


def _arriving(connection: Connection, namespace_id: int, now: int) -> bool:
    """Say whether bulk rows came with vectors a moment ago: the next call of their backfill is then on its way.

    They are told by never having been claimed.
    """
    newest = connection.execute(
        select(memories.c.created_at, memories.c.attempts)
        .where(
            memories.c.namespace_id == namespace_id, memories.c.state == State.EMBEDDED, memories.c.lane == Lane.BULK
        )
        .order_by(memories.c.id.desc())
        .limit(1)
    ).first()
    return newest is not None and not newest.attempts and 0 <= now - newest.created_at < _ARRIVING_S * 1e6


def has_bulk(connection: Connection, namespace_id: int, *states: State) -> bool:
    """Say whether bulk rows of a namespace are in one of the states; by default, on their way."""
    for state in states or (State.PENDING, State.EMBEDDED):  # one at a time: each state has an index of its own
        statement = select(memories.c.id).where(
            memories.c.state == state, memories.c.lane == Lane.BULK, memories.c.namespace_id == namespace_id
        )
        if connection.execute(statement.limit(1)).first() is not None:
            return True
    return False


def embedded_ids(connection: Connection, namespace_id: int, lane: Lane, limit: int) -> list[int]:
    """Return ids of embedded rows of a lane, in order of acceptance, whoever builds a shard of them."""
    return list(connection.execute(select_embedded(namespace_id, lane).limit(limit)).scalars())

"""Shards whose blob cannot be used: marked, so that maintenance looks again and builds them anew."""

from typing import Any, Final

from sqlalchemy import Connection, Select, select, update

from core.records.shardlist import LISTED, ShardRecord, shard_record
from core.records.tables import shards


def quarantine_shard(connection: Connection, shard_id: int, now: int) -> None:
    """Mark a live shard; the first mark stands."""
    connection.execute(
        update(shards)
        .where(shards.c.id == shard_id, shards.c.retired_at.is_(None), shards.c.quarantined_at.is_(None))
        .values(quarantined_at=now)
    )


def release_shard(connection: Connection, shard_id: int) -> None:
    """Take a shard's mark away: its blob is sound again."""
    connection.execute(update(shards).where(shards.c.id == shard_id).values(quarantined_at=None))


def quarantined_shards(connection: Connection) -> list[tuple[int, ShardRecord]]:
    """Return the marked live shards of the company, each behind its namespace's row id."""
    return _listed(connection, _LIVE.where(shards.c.quarantined_at.is_not(None)))


def unmarked_shards(connection: Connection, after: int) -> list[tuple[int, ShardRecord]]:
    """Return the live shards of the company behind a shard id that bear no mark, in the same way."""
    return _listed(connection, _LIVE.where(shards.c.quarantined_at.is_(None), shards.c.id > after))


_LIVE: Final = select(*LISTED).where(shards.c.retired_at.is_(None)).order_by(shards.c.id)


def _listed(connection: Connection, statement: Select[Any]) -> list[tuple[int, ShardRecord]]:
    return [(row.namespace_id, shard_record(row)) for row in connection.execute(statement)]

"""Deleting memories: final at the commit. Content and vectors are erased in the transaction that says so."""

from collections.abc import Iterable

from sqlalchemy import Connection, select, update

from core.errors import NotFound
from core.records.claims import finish_jobs, in_chunks
from core.records.company import CompanyRecords, Namespace
from core.records.tables import State, memories
from core.records.writes import bump_overlay


def delete_memory(records: CompanyRecords, namespace: Namespace, memory_id: str) -> None:
    """Delete a memory with all its versions. Raises ``NotFound``."""
    handle = namespace.key.handle("memory", memory_id)
    with records.database.write() as connection:
        ids = list(
            connection.execute(
                select(memories.c.id).where(
                    memories.c.namespace_id == namespace.id,
                    memories.c.handle == handle,
                    memories.c.state != State.DELETED,
                )
            ).scalars()
        )
        if not ids:
            raise NotFound("there is no such memory in this namespace", field="id")
        erase(connection, namespace.id, ids, records.clock())


def delete_rows(records: CompanyRecords, namespace: Namespace, rows: Iterable[int]) -> int:
    """Delete these rows with all versions of their memories; return how many rows were erased."""
    with records.database.write() as connection:
        versions: set[int] = set()
        for ids in in_chunks(rows):
            handles = select(memories.c.handle).where(memories.c.id.in_(ids)).scalar_subquery()
            found = select(memories.c.id).where(
                memories.c.namespace_id == namespace.id,
                memories.c.handle.in_(handles),
                memories.c.state != State.DELETED,
            )
            versions.update(connection.execute(found).scalars())
        erase(connection, namespace.id, sorted(versions), records.clock())
    return len(versions)


def erase(connection: Connection, namespace_id: int, rows: list[int], now: int) -> None:
    """Erase content and vectors of rows, and mask them until the shards no longer hold them."""
    for ids in in_chunks(rows):
        connection.execute(
            update(memories)
            .where(memories.c.id.in_(ids))
            .values(
                state=State.DELETED,
                sealed=None,
                sealed_vectors=None,
                session=None,
                deleted_at=now,
                overlay=True,
                lease=None,
                lease_until=None,
            )
        )
    finish_jobs(connection, rows, now)
    if rows:
        bump_overlay(connection, namespace_id)


def expire(records: CompanyRecords, limit: int) -> int:
    """Delete memories whose time has run out; return how many."""
    now = records.clock()
    due = (
        select(memories.c.id, memories.c.namespace_id)
        .where(memories.c.expires_at <= now, memories.c.state != State.DELETED)
        .limit(limit)
    )
    with records.database.read() as connection:  # mostly there is nothing, and looking takes no turn
        if connection.execute(due.limit(1)).first() is None:
            return 0
    with records.database.write() as connection:
        rows = connection.execute(due).all()
        for namespace_id in {row.namespace_id for row in rows}:
            erase(connection, namespace_id, [row.id for row in rows if row.namespace_id == namespace_id], now)
    return len(rows)

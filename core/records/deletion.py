"""Deleting memories: final at the commit. Content and vectors are erased in the transaction that says so."""

from collections.abc import Iterable

from sqlalchemy import Connection, select, update

from core.errors import NotFound
from core.records.claims import finish_jobs, in_chunks
from core.records.company import CompanyRecords, Namespace
from core.records.receipts import Kind, add_rows, finish_receipt, open_receipt
from core.records.tables import State, memories
from core.records.writes import bump_overlay


def delete_memory(records: CompanyRecords, namespace: Namespace, memory_id: str) -> str:
    """Delete a memory with all its versions; return the id of the receipt. Raises ``NotFound``."""
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
        now = records.clock()
        receipt, public_id = open_receipt(connection, namespace.id, Kind.MEMORY, now, records.purge_us)
        erase(connection, namespace.id, ids, now, receipt)
        add_rows(connection, receipt, len(ids))
        finish_receipt(connection, receipt, now)
    return public_id


def with_versions(connection: Connection, namespace_id: int, rows: Iterable[int], before: int) -> list[int]:
    """Return these rows of the namespace and all versions of their memories that were accepted before a row."""
    versions: set[int] = set()
    for ids in in_chunks(rows):
        handles = select(memories.c.handle).where(memories.c.id.in_(ids)).scalar_subquery()
        found = select(memories.c.id).where(
            memories.c.namespace_id == namespace_id,
            memories.c.handle.in_(handles),
            memories.c.state != State.DELETED,
            memories.c.id < before,
        )
        versions.update(connection.execute(found).scalars())
    return sorted(versions)


def erase(connection: Connection, namespace_id: int, rows: list[int], now: int, receipt: int | None = None) -> None:
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
                deletion_id=receipt,
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

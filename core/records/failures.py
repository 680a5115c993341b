"""The dead letter: memories that failed, found, shown, and discarded."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Row, literal_column, select, update

from core.clock import to_datetime
from core.errors import IntegrityError, NotFound
from core.records.claims import in_chunks
from core.records.company import CompanyRecords, Namespace
from core.records.deletion import erase, with_versions
from core.records.receipts import Kind, add_rows, finish_receipt, open_receipt
from core.records.rows import open_content
from core.records.tables import State, jobs, memories

_ROW_MAX: Final = 2**63 - 1
# Asked for by id alone: with the namespace as well, SQLite reads all of it through another index.
_PLACE: Final = [
    memories.c.id,
    memories.c.namespace_id,
    memories.c.state,
    memories.c.handle,
    memories.c.closed_by,
]


@dataclass(frozen=True)
class Failure:
    """A memory that failed. ``id`` is ``None`` where its row cannot be opened; ``row`` names it all the same."""

    row: int
    id: str | None
    job_id: str
    namespace: str
    error: str
    attempts: int
    superseded: bool
    created_at: datetime


@dataclass(frozen=True)
class Discarded:
    """What was discarded: how many failed memories, and the receipts of their deletion."""

    rows: int
    receipts: Sequence[str]


def list_failures(
    records: CompanyRecords, *, namespace_ids: Sequence[int] | None, after: int, limit: int
) -> tuple[list[Failure], int | None]:
    """Return a page of failed memories, of some namespaces or all, behind the row ``after``; and the next ``after``."""
    # The sum keeps SQLite from walking through every memory in order of id; only the failed are indexed apart.
    place = memories.c.id + literal_column("0")
    statement = (
        select(
            memories.c.id,
            memories.c.namespace_id,
            memories.c.sealed,
            memories.c.error,
            memories.c.attempts,
            memories.c.closed_at,
            memories.c.created_at,
            jobs.c.public_id.label("job"),
        )
        .join(jobs, jobs.c.id == memories.c.job_id)
        .where(memories.c.state == State.FAILED, place > after)
        .order_by(place)
        .limit(limit)
    )
    if namespace_ids is not None:
        statement = statement.where(memories.c.namespace_id.in_(namespace_ids))
    with records.database.read() as connection:
        rows = connection.execute(statement).all()
    return [failure for row in rows if (failure := _failure(records, row))], rows[-1].id if len(rows) == limit else None


def find_failed(
    records: CompanyRecords, namespace: Namespace, ids: Iterable[str] | None = None, rows: Iterable[int] | None = None
) -> list[int]:
    """Return the failed rows of a namespace: those of memories, those named, both together, or, with neither, all."""
    failed = select(memories.c.id).where(memories.c.state == State.FAILED)
    found: set[int] = set()
    with records.database.read() as connection:
        if ids is None and rows is None:
            found.update(connection.execute(failed.where(memories.c.namespace_id == namespace.id)).scalars())
        for id_ in ids or ():
            handle = namespace.key.handle("memory", id_)
            of_memory = failed.where(memories.c.namespace_id == namespace.id, memories.c.handle == handle)
            found.update(connection.execute(of_memory).scalars())
        for chunk in in_chunks(rows or ()):
            named = connection.execute(select(*_PLACE).where(memories.c.id.in_(chunk)))
            found.update(row.id for row in named if row.namespace_id == namespace.id and row.state == State.FAILED)
    return sorted(found)


def discard_failed(records: CompanyRecords, namespace: Namespace, rows: Iterable[int]) -> Discarded:
    """Delete failed memories for good, each transaction with a receipt of its own.

    A present version goes with all versions of its memory. One that was replaced goes alone, and what it had replaced
    is then replaced by its successor. Rows that have not failed are left.
    """
    total, receipts = 0, []
    for ids in in_chunks(rows):
        with records.database.write() as connection:
            found = connection.execute(select(*_PLACE).where(memories.c.id.in_(ids))).all()
            ours = [row for row in found if row.namespace_id == namespace.id and row.state == State.FAILED]
            if not ours:
                continue
            now = records.clock()
            present = [row.id for row in ours if row.closed_by is None]
            for row in ours:
                _pass_over(connection, row)
            doomed = {row.id for row in ours} | set(with_versions(connection, namespace.id, present, _ROW_MAX))
            receipt, public_id = open_receipt(connection, namespace.id, Kind.MEMORY, now, records.purge_us)
            erase(connection, namespace.id, sorted(doomed), now, receipt)
            add_rows(connection, receipt, len(doomed))
            finish_receipt(connection, receipt, now)
        total += len(ours)
        receipts.append(public_id)
    return Discarded(total, receipts)


def _pass_over(connection: Connection, row: Row[Any]) -> None:
    """Let the version that a replaced row had replaced be replaced by its successor."""
    if row.closed_by is not None:
        before = memories.c.namespace_id == row.namespace_id, memories.c.handle == row.handle
        connection.execute(
            update(memories).where(*before, memories.c.closed_by == row.id).values(closed_by=row.closed_by)
        )


def _failure(records: CompanyRecords, row: Any) -> Failure | None:
    try:
        namespace = records.namespace_by_id(row.namespace_id)
    except NotFound:  # deleted a moment ago, and its rows with it
        return None
    try:
        public_id = open_content(namespace, row.id, row.sealed).id
    except IntegrityError:
        public_id = None
    return Failure(
        row=row.id,
        id=public_id,
        job_id=row.job,
        namespace=namespace.name,
        error=row.error,
        attempts=row.attempts,
        superseded=row.closed_at is not None,
        created_at=to_datetime(row.created_at),
    )

"""Receipts of deletions: what was erased and when, and what may remain of it until when.

A receipt is written by the transactions that erase, so it cannot say more or less than they did. Rows point to it;
those without one were not deleted by anybody: their time ran out.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Literal

from sqlalchemy import Connection, Label, Row, Select, Update, insert, select, update

from core.errors import NotFound
from core.ids import new_id
from core.records.tables import deletions, memories, namespaces


class Kind(StrEnum):
    """What was named to be deleted."""

    MEMORY = "memory"
    FILTER = "filter"
    SESSION = "session"
    NAMESPACE = "namespace"


@dataclass(frozen=True)
class Erased:
    """Something that is gone. Times in microseconds since the epoch."""

    where: str
    what: str
    at: int


@dataclass(frozen=True)
class Remaining:
    """Something that may still be there; ``until`` is ``None`` where the server does not decide it."""

    where: str
    until: int | None
    note: str


@dataclass(frozen=True)
class Receipt:
    """A deletion. ``masked``: a live shard may still hold some of it, hidden from every answer."""

    row: int
    id: str
    namespace_id: int
    namespace_deleted: bool
    kind: Kind
    rows: int
    created_at: int
    finished_at: int | None
    purge_due_at: int
    purged_at: int | None
    masked: bool
    in_file: bool = True  # else in PostgreSQL, whose files are not ours

    @property
    def state(self) -> Literal["erasing", "erased", "purged"]:
        """How far it is: rows are being found, are erased, or have left the index files and the log as well."""
        if self.finished_at is None:
            return "erasing"
        return "erased" if self.purged_at is None else "purged"

    @property
    def erased(self) -> list[Erased]:
        """What is gone, where, since when."""
        gone = []
        if self.finished_at is not None:
            gone.append(Erased("record store", "content, vectors, metadata", self.finished_at))
            if self.kind is Kind.NAMESPACE:
                gone.append(
                    Erased("keys", "the key of the namespace, so that nothing sealed with it opens", self.finished_at)
                )
        if self.purged_at is not None:
            gone.append(Erased("index shards", "terms, vectors, metadata", self.purged_at))
        return gone

    @property
    def remains(self) -> list[Remaining]:
        """What may still be there, until when."""
        left = []
        if self.finished_at is None:
            left.append(Remaining("record store", None, "what matches is being found and erased"))
        if self.purged_at is None:
            if self.masked or self.finished_at is None:
                left.append(Remaining("index shards", self.purge_due_at, "masked in every answer"))
            left.append(Remaining("replaced shard files", self.purge_due_at, "kept for searches under way"))
        left += self._remains_in_file() if self.in_file else _REMAINS_IN_POSTGRESQL
        left.append(Remaining("backups", None, "those made before created_at hold it, sealed under the master key"))
        return left

    def _remains_in_file(self) -> list[Remaining]:
        until = "maintenance" if self.kind is Kind.NAMESPACE else "the operator"
        left = [
            Remaining("unused space in the database", None, "SQLite may keep sealed fragments until it reuses it"),
            Remaining("copies of before an upgrade", None, f"records.db.before-…, until {until} removes them"),
        ]
        if self.purged_at is None:
            left.insert(0, Remaining("write-ahead log", self.purge_due_at, "sealed pages of before the deletion"))
        return left


_REMAINS_IN_POSTGRESQL: Final = (
    Remaining("unused space in the database", None, "PostgreSQL keeps sealed values until it reuses it"),
    Remaining("write-ahead log", None, "sealed values, until PostgreSQL recycles it; its archive and replicas, too"),
)


def open_receipt(connection: Connection, namespace_id: int, kind: Kind, now: int, purge_us: int) -> tuple[int, str]:
    """Write the receipt of a deletion that begins; return its row and its public id."""
    public_id = new_id("del")
    row = connection.execute(
        insert(deletions)
        .values(
            public_id=public_id,
            namespace_id=namespace_id,
            kind=kind,
            rows=0,
            created_at=now,
            purge_due_at=now + purge_us,
        )
        .returning(deletions.c.id)
    ).scalar_one()
    return row, public_id


def add_rows(connection: Connection, receipt: int, count: int) -> None:
    """Count rows that this transaction erased."""
    connection.execute(update(deletions).where(deletions.c.id == receipt).values(rows=deletions.c.rows + count))


def finish_receipt(connection: Connection, receipt: int, now: int) -> None:
    """Say that all is erased; what had to be found is forgotten. One that is finished stays as it is."""
    connection.execute(_finish(now).where(deletions.c.id == receipt))


def finish_receipts(connection: Connection, namespace_id: int, now: int) -> None:
    """Finish every deletion in a namespace, because all of it is erased."""
    connection.execute(_finish(now).where(deletions.c.namespace_id == namespace_id))


def get_receipt(connection: Connection, public_id: str) -> Receipt:
    """Return a receipt. Raises ``NotFound``."""
    row = connection.execute(_receipts().where(deletions.c.public_id == public_id)).first()
    if row is None:
        raise NotFound("there is no such deletion", field="deletion_id")
    return _receipt(connection, row)


def list_receipts(
    connection: Connection, *, namespace_ids: Sequence[int] | None, after: int | None, limit: int
) -> list[Receipt]:
    """Return receipts, newest first, older than the row ``after``, of some namespaces, or of all there ever were."""
    statement = _receipts().order_by(deletions.c.id.desc()).limit(limit)
    if namespace_ids is not None:
        statement = statement.where(deletions.c.namespace_id.in_(namespace_ids))
    if after is not None:
        statement = statement.where(deletions.c.id < after)
    return [_receipt(connection, row) for row in connection.execute(statement)]


def unfinished(connection: Connection) -> Sequence[Row[Any]]:
    """Return the deletions whose rows are still being found: ``id, public_id, namespace_id, sealed_scope``."""
    columns: list[Any] = [deletions.c.id, deletions.c.public_id, deletions.c.namespace_id, deletions.c.sealed_scope]
    waiting = deletions.c.purged_at.is_(None) & deletions.c.finished_at.is_(None)
    return connection.execute(select(*columns).where(waiting).order_by(deletions.c.id)).all()


def unpurged(connection: Connection) -> Sequence[Row[Any]]:
    """Return finished deletions that may still be in some file: ``id, namespace_id, namespace, masked``."""
    waiting = deletions.c.purged_at.is_(None) & deletions.c.finished_at.is_not(None)
    columns: list[Any] = [
        deletions.c.id,
        deletions.c.namespace_id,
        namespaces.c.public_id.label("namespace"),
        _masked(),
    ]
    return connection.execute(
        select(*columns).join(namespaces, namespaces.c.id == deletions.c.namespace_id).where(waiting)
    ).all()


def mark_purged(connection: Connection, receipts: Iterable[int], now: int) -> None:
    """Say that nothing of these deletions is left in any file of the server."""
    for receipt in receipts:
        connection.execute(
            update(deletions).where(deletions.c.id == receipt, deletions.c.purged_at.is_(None)).values(purged_at=now)
        )


def _finish(now: int) -> Update:
    return update(deletions).where(deletions.c.finished_at.is_(None)).values(finished_at=now, sealed_scope=None)


def _masked() -> Label[bool]:
    held = select(memories.c.id).where(memories.c.deletion_id == deletions.c.id, memories.c.overlay)
    return held.exists().label("masked")


def _receipts() -> Select[Any]:
    return select(deletions, namespaces.c.deleted_at.label("gone_at"), _masked()).join(
        namespaces, namespaces.c.id == deletions.c.namespace_id
    )


def _receipt(connection: Connection, row: Row[Any]) -> Receipt:
    return Receipt(
        row=row.id,
        id=row.public_id,
        namespace_id=row.namespace_id,
        namespace_deleted=row.gone_at is not None,
        kind=Kind(row.kind),
        rows=row.rows,
        created_at=row.created_at,
        finished_at=row.finished_at,
        purge_due_at=row.purge_due_at,
        purged_at=row.purged_at,
        masked=row.masked,
        in_file=connection.dialect.name == "sqlite",
    )

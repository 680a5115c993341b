"""Restoring into a store that is in use: rows opened with the backup's keys and written anew under the target's.

The present versions only: a memory's history stays in the backup. Where the model is the same, vectors are kept, and
with them the time at which a memory was accepted; else it is embedded anew and counts from now.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Row, bindparam, select, update

from core.backup.reading import BackupReader
from core.backup.restoring import opened_folder, unpack
from core.errors import Conflict, NotFound
from core.memory import NewMemory
from core.records.company import CompanyRecords, Namespace
from core.records.control import ControlStore
from core.records.rows import TABLE, open_content
from core.records.tables import Lane, State, jobs, memories
from core.records.workplace import workplace
from core.records.writes import Accepted, Idempotency, WriteRequest, commit_writes
from core.settings import Storage

_PAGE_ROWS: Final = 500


@dataclass(frozen=True)
class Rewritten:
    """What was written anew: memories, and how many of them kept their vectors."""

    memories: int
    vectors_kept: int


@contextmanager
def unpacked(backup: BackupReader, control: ControlStore) -> Iterator[ControlStore]:
    """Yield the store that a backup holds, without its shards, in a private folder of this server's data directory."""
    with workplace(control.root) as folder:
        unpack(backup, folder, with_shards=False)
        storage = Storage(path=folder, purge_s=control.storage.purge_s)
        with opened_folder(backup, folder, control.clock, storage) as opened:
            yield opened


def rewrite(
    source: CompanyRecords,
    target: CompanyRecords,
    names: Mapping[str, str],
    *,
    backup: str,
    fingerprint: str,
    on_written: Callable[[int], None],
) -> Rewritten:
    """Write namespaces of ``source`` into ``target`` under the names given (old: new), as bulk jobs.

    A restore that was cut off goes on where it was when it is repeated. Raises ``NotFound`` for a name that the backup
    does not hold, ``Conflict`` when a namespace to be made exists already and is not the work of this restore,
    ``IntegrityError`` when a row does not open.
    """
    total = Rewritten(0, 0)
    opened = [(source.namespace(old), new) for old, new in names.items()]
    for namespace, new in opened:
        _refuse_another(target, new, namespace, backup)
    for namespace, new in opened:
        copier = _Copier(namespace, target, target.ensure_namespace(new), backup, fingerprint)
        for after, rows in _pages(source, namespace):
            done = copier.write(after, rows)
            total = Rewritten(total.memories + done.memories, total.vectors_kept + done.vectors_kept)
            on_written(len(rows))
    return total


@dataclass(frozen=True)
class _Copier:
    """Writes the rows of one namespace into another."""

    source: Namespace
    records: CompanyRecords
    target: Namespace
    backup: str
    fingerprint: str

    def write(self, after: int, rows: Sequence[Row[Any]]) -> Rewritten:
        """Write the page of rows behind ``after`` as one job, unless it was written before."""
        now = self.records.clock()
        alive = [row for row in rows if row.expires_at is None or row.expires_at > now]
        items = [self._item(row, now) for row in alive]
        vectors = [self._vectors(row) for row in alive]
        once = _page_name(self.target, self.source, self.backup, after)
        request = WriteRequest(self.target, items, Lane.BULK, once)
        with self.records.database.write() as connection:
            [accepted] = commit_writes(connection, [request], now)
            if accepted.repeated:
                return Rewritten(0, 0)
            self._keep_vectors(connection, accepted, alive, vectors)
        return Rewritten(len(items), sum(found is not None for found in vectors))

    def _item(self, row: Row[Any], now: int) -> NewMemory:
        stored = open_content(self.source, row.id, row.sealed)
        left_s = None if row.expires_at is None else max(1, math.ceil((row.expires_at - now) / 1e6))
        return NewMemory.model_construct(**stored.__dict__, ttl_seconds=left_s)

    def _vectors(self, row: Row[Any]) -> bytes | None:
        if row.sealed_vectors is None or row.fingerprint != self.fingerprint:
            return None
        return self.source.key.open_row(row.sealed_vectors, TABLE, row.id, "vectors")

    def _keep_vectors(
        self, connection: Connection, accepted: Accepted, rows: Sequence[Row[Any]], vectors: Sequence[bytes | None]
    ) -> None:
        """Give rows just written the vectors and times that they had; they then wait for the index stage only."""
        job = select(jobs.c.id).where(jobs.c.public_id == accepted.job_id).scalar_subquery()
        made = connection.execute(select(memories.c.id).where(memories.c.job_id == job).order_by(memories.c.id))
        changes = [
            {
                "row": new,
                "blob": self.target.key.seal_row(found, TABLE, new, "vectors"),
                "accepted_at": old.created_at,
            }
            for new, old, found in zip(made.scalars(), rows, vectors, strict=True)
            if found is not None
        ]
        if changes:
            statement = update(memories).where(memories.c.id == bindparam("row"))
            values: dict[str, Any] = {"sealed_vectors": bindparam("blob"), "created_at": bindparam("accepted_at")}
            connection.execute(statement.values(state=State.EMBEDDED, fingerprint=self.fingerprint, **values), changes)


def _pages(records: CompanyRecords, namespace: Namespace) -> Iterator[tuple[int, Sequence[Row[Any]]]]:
    """Yield the present rows of a namespace in order of acceptance, each page with the row before it."""
    after = 0
    while True:
        statement = (
            select(memories)
            .where(
                memories.c.namespace_id == namespace.id,
                memories.c.id > after,
                memories.c.state != State.DELETED,
                memories.c.closed_at.is_(None),
            )
            .order_by(memories.c.id)
            .limit(_PAGE_ROWS)
        )
        with records.database.read() as connection:
            rows = connection.execute(statement).all()
        if not rows:
            return
        yield after, rows
        after = rows[-1].id


def _page_name(target: Namespace, source: Namespace, backup: str, after: int) -> Idempotency:
    """Name a page, so that a repeated restore writes it once."""
    page = f"restore {backup} {source.public_id} {after}"
    return Idempotency(target.key.handle("idempotency", page), target.key.handle("request", page))


def _refuse_another(records: CompanyRecords, name: str, source: Namespace, backup: str) -> None:
    """Raise ``Conflict`` when the namespace to be made exists, unless this restore has begun it."""
    try:
        target = records.namespace(name)
    except NotFound:
        return
    begun = select(jobs.c.id).where(jobs.c.idempotency == _page_name(target, source, backup, 0).handle)
    used = select(jobs.c.id).where(jobs.c.namespace_id == target.id).limit(1)
    with records.database.read() as connection:
        if connection.execute(used).first() is not None and connection.execute(begun).first() is None:
            raise Conflict(f"namespace {name!r} exists; restore under another name with OLD=NEW", field="namespace")

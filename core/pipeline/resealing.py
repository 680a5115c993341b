"""Sealing anew, in the background, what an older version of a namespace's key sealed; then that version is erased.

Rows are opened and sealed in batches. One is replaced only where it still holds the bytes that were read, so that an
erased row is never brought back. Shards are rewritten by compaction, as all that other versions sealed. A row that does
not open is left as it is, and the older key with it: nobody erases a key that something may need.
"""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import structlog
from sqlalchemy import Connection, Row, Table, bindparam, select, update

from core.crypto.envelope import key_version_of
from core.errors import IntegrityError, KeyUnusable, NotFound
from core.pipeline.patience import Patience
from core.records.company import CompanyRecords, Namespace, use_newest_keys
from core.records.counters import read_counter, set_counter
from core.records.erasure import settle_erased
from core.records.keyversions import (
    BY_NAMESPACE,
    SealedTable,
    begin_resealing,
    erase_versions,
    older_shards,
    older_values,
    retiring,
)

log = structlog.get_logger()

_BATCH_ROWS: Final = 200  # a few milliseconds of the writer's turn
_PAGE_ROWS: Final = 20_000  # ids held at a time; finding a page reads an index entry of each row of the namespace
_ROUND_S: Final = 5.0  # other maintenance waits for as long


class Resealing:
    """Follows the rotated keys of one company's namespaces to their end, a slice in each round."""

    def __init__(
        self,
        records: CompanyRecords,
        ring: Callable[[], None] = lambda: None,
        stopping: Callable[[], bool] = lambda: False,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """``ring()`` asks for the next round soon; ``sleep`` leaves the store to others for as long as it was held."""
        self._records = records
        self._ring = ring
        self._stopping = stopping
        self._sleep = sleep
        self._patience = Patience(records.clock, random.Random())  # noqa: S311 - spreads load, guards nothing

    def look(self) -> int:
        """Seal rows anew for a while, erase the keys that nothing needs any more; return how many rows it were."""
        settle_erased(self._records.database)
        with self._records.database.read() as connection:
            waiting = retiring(connection)
        until = time.monotonic() + _ROUND_S
        return sum(self._attempt(namespace_id, until) for namespace_id in waiting)

    def _attempt(self, namespace_id: int, until: float) -> int:
        """Go on with a namespace; one whose key cannot be used keeps no other one from its end."""
        try:
            return self._reseal(namespace_id, until)
        except (IntegrityError, KeyUnusable) as error:
            log.error("namespace_not_resealed", company=self._records.company, row=namespace_id, code=error.reason)
            return 0

    def _reseal(self, namespace_id: int, until: float) -> int:
        try:
            namespace = self._records.namespace_by_id(namespace_id)
        except NotFound:
            return 0
        done = 0
        for sealed in BY_NAMESPACE:
            count, ended = self._walk(namespace, sealed, until)
            done += count
            if not ended:
                self._ring()
                return done
        self._end(namespace)
        return done

    def _walk(self, namespace: Namespace, sealed: SealedTable, until: float) -> tuple[int, bool]:
        """Seal a table's rows anew from its cursor on; return how many, and whether all are done."""
        table, cursor, version = sealed.table, sealed.cursor(namespace.id), namespace.key.version
        with self._records.database.read() as connection:
            first = read_counter(connection, cursor)
        if not first:
            return 0, True
        done = 0
        for batch in self._batches(table, namespace.id, first):
            if self._stopping() or time.monotonic() > until:
                return done, False
            began = time.monotonic()
            count = self._batch(namespace, sealed, batch, first)
            if count is None:
                return done, False
            done, first = done + count, batch[-1] + 1
            self._sleep(time.monotonic() - began)
        with self._records.database.write() as connection:
            use_newest_keys(connection, [namespace])
            if read_counter(connection, cursor) != first or namespace.key.version != version:
                return done, False
            set_counter(connection, cursor, 0)
        return done, True

    def _batches(self, table: Table, namespace_id: int, first: int) -> Iterator[Sequence[int]]:
        """Yield the ids of a namespace's rows in order, from one on."""
        mine = select(table.c.id).where(table.c.namespace_id == namespace_id).order_by(table.c.id).limit(_PAGE_ROWS)
        ids: Sequence[int] = [first - 1]
        while ids:
            with self._records.database.read() as connection:
                ids = connection.execute(mine.where(table.c.id > ids[-1])).scalars().all()
            for start in range(0, len(ids), _BATCH_ROWS):
                yield ids[start : start + _BATCH_ROWS]

    def _batch(self, namespace: Namespace, sealed: SealedTable, ids: Sequence[int], first: int) -> int | None:
        """Seal rows anew; return how many were, ``None`` when another process or rotation has moved the cursor."""
        cursor = sealed.cursor(namespace.id)
        columns = [sealed.table.c.id, *(sealed.table.c[name] for name in sealed.columns)]
        with self._records.database.read() as connection:
            rows = connection.execute(select(*columns).where(sealed.table.c.id.in_(ids))).all()
        changes = {name: self._changes(namespace, sealed, name, rows) for name in sealed.columns}
        version = namespace.key.version
        with self._records.database.write(synced=False) as connection:  # erasing the older key is synced, and later
            use_newest_keys(connection, [namespace])
            if read_counter(connection, cursor) != first or namespace.key.version != version:
                return None
            for name, changed in changes.items():
                _replace(connection, sealed, name, changed)
            set_counter(connection, cursor, ids[-1] + 1)
        return len({change["row"] for changed in changes.values() for change in changed})

    def _changes(
        self, namespace: Namespace, sealed: SealedTable, column: str, rows: Sequence[Row[Any]]
    ) -> list[dict[str, Any]]:
        """Return the values of a column that must change. Raises ``KeyUnusable``: then nothing is known of any row."""
        found, refused = [], 0
        what = sealed.columns[column]
        for row in rows:
            value: bytes | None = getattr(row, column)
            try:
                if value is None or key_version_of(value) == namespace.key.version:
                    continue
                opened = namespace.key.open_row(value, sealed.table.name, row.id, what)
            except IntegrityError:
                refused += 1
                continue
            new = namespace.key.seal_row(opened, sealed.table.name, row.id, what)
            found.append({"row": row.id, "old": value, "new": new})
        if refused:
            log.error("rows_refused", reason=IntegrityError.code, rows=refused, namespace=namespace.public_id)
        return found

    def _end(self, namespace: Namespace) -> None:
        """Erase the older versions once nothing names them; where a row still does, begin again, later each time."""
        version = namespace.key.version
        with self._records.database.read() as connection:
            if older_shards(connection, namespace.id, version) or not self._patience.allows(namespace.public_id):
                return
            left = older_values(connection, namespace.id, version)
        if left:
            retry_s = self._patience.failed(namespace.public_id)
            log.error("older_key_kept", namespace=namespace.public_id, rows=left, retry_s=retry_s)
            with self._records.database.write() as connection:
                if use_newest_keys(connection, [namespace]):
                    begin_resealing(connection, namespace.id)
        elif erase_versions(self._records, namespace, version):
            self._patience.succeeded(namespace.public_id)
            settle_erased(self._records.database)
            log.info("older_keys_erased", namespace=namespace.public_id, version=version)


def _replace(connection: Connection, sealed: SealedTable, column: str, changes: Sequence[dict[str, Any]]) -> None:
    """Put new envelopes in place of those that were read."""
    if changes:
        table = sealed.table
        same = (table.c.id == bindparam("row")) & (table.c[column] == bindparam("old"))
        connection.execute(update(table).where(same).values({column: bindparam("new")}), changes)

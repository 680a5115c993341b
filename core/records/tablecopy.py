"""Rows carried from one record database to another, whatever engine holds either: by their keys, sealed as they are.

A batch is one transaction of the target, and nobody else writes there. So the largest key of a table says how far its
copy has come: whoever died is followed from there, and no row is written twice. A freeze and leases belong to the
processes of the source and stay behind.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    String,
    Table,
    collate,
    column,
    delete,
    func,
    insert,
    literal,
    select,
    table,
    tuple_,
)

from core.errors import IntegrityError
from core.records.audittables import chain
from core.records.frozen import without_freeze
from core.records.schema import METADATA, Kind
from core.records.tables import leases, store

_BATCH_ROWS: Final = 1_000  # a commit on a synced disk takes as long as writing about so many
_BATCH_BYTES: Final = 8 * 2**20
_BY_BYTES: Final = {"sqlite": "BINARY", "postgresql": "C"}  # one order of strings everywhere
_NUMBERS: Final = table("sqlite_sequence", column("name"), column("seq"))

_OF_ONE_ROW: Final = (store, chain)

Begin = Callable[[], AbstractContextManager[Connection]]
Key = tuple[Any, ...]


@dataclass(frozen=True)
class Digest:
    """What a table holds, in short: the number of its rows, and a SHA-256 over every value of them."""

    rows: int
    sha256: str


def tables_of(kind: Kind) -> Sequence[Table]:
    """Return the tables that are copied, each behind those that it refers to."""
    return [each for each in METADATA[kind].sorted_tables if each is not leases]


def count_rows(connection: Connection, each: Table) -> int:
    """Return how many rows of a table a copy holds."""
    return int(connection.execute(select(func.count()).select_from(without_freeze(each).subquery())).scalar_one())


def copy_table(
    source: Connection, begin: Begin, each: Table, on_copied: Callable[[int], None] = lambda _: None
) -> None:
    """Copy what the target still lacks of a table; ``begin()`` opens a transaction there.

    ``on_copied(rows)`` is told after each batch how many rows are there, those of an earlier run included. The source
    must not change between runs. Raises what ``begin()`` raises; repeated, it goes on.
    """
    with begin() as connection:
        if each in _OF_ONE_ROW:  # a new database may have it
            connection.execute(delete(each))
        after = _last_key(connection, each)
        rows = 0 if after is None else count_rows(connection, each)
    for batch in _batches(_ordered(source, each, after)):
        with begin() as connection:
            connection.execute(insert(each), [row._asdict() for row in batch])
        rows += len(batch)
        on_copied(rows)
    with begin() as connection:
        _number_on(connection, each, _last_number(source, each))


def digest_rows(connection: Connection, each: Table) -> Digest:
    """Return the digest of what a copy of a table holds. Nothing is opened."""
    rows, digest = 0, hashlib.sha256()
    for row in _ordered(connection, each, None):
        rows += 1
        for value in row:
            raw = value if isinstance(value, bytes) else repr(value).encode()
            digest.update(b"%s%d:%s" % (type(value).__name__.encode(), len(raw), raw))
    return Digest(rows, digest.hexdigest())


def compare(source: Connection, target: Connection, each: Table) -> None:
    """Raise ``IntegrityError`` unless both hold the same rows of a table, and would give the same number next."""
    ours, theirs = digest_rows(source, each), digest_rows(target, each)
    if ours != theirs:
        raise IntegrityError(
            f"the copy of table {each.name} has {theirs.rows} rows and the original {ours.rows}, or some differ: the "
            "original is as it was; empty the target and copy again"
        )
    if _last_number(source, each) != _last_number(target, each):
        raise IntegrityError(f"the copy of table {each.name} would give out numbers that were given out already")


def _ordered(connection: Connection, each: Table, after: Key | None) -> Iterator[Row[Any]]:
    """Yield rows in the order of their keys, as they arrive: a table need not fit into memory."""
    key = _key(connection, each)
    statement: Select[Any] = without_freeze(each).order_by(*key)
    if after is not None:
        statement = statement.where(tuple_(*key) > tuple_(*map(literal, after)))
    with connection.execute(statement, execution_options={"yield_per": _BATCH_ROWS}) as rows:
        yield from rows


def _batches(rows: Iterable[Row[Any]]) -> Iterator[list[Row[Any]]]:
    batch: list[Row[Any]] = []
    held_bytes = 0
    for row in rows:
        batch.append(row)
        held_bytes += sum(len(value) for value in row if isinstance(value, bytes))
        if len(batch) == _BATCH_ROWS or held_bytes >= _BATCH_BYTES:
            yield batch
            batch, held_bytes = [], 0
    if batch:
        yield batch


def _last_key(connection: Connection, each: Table) -> Key | None:
    key = _key(connection, each)
    row = connection.execute(select(*each.primary_key).order_by(*(part.desc() for part in key)).limit(1)).first()
    return None if row is None else tuple(row)


def _key(connection: Connection, each: Table) -> Sequence[ColumnElement[Any]]:
    order = _BY_BYTES[connection.dialect.name]
    return [collate(part, order) if isinstance(part.type, String) else part for part in each.primary_key]


def _last_number(connection: Connection, each: Table) -> int | None:
    """Return the largest id that a table has given out by itself; ``None`` before the first, or if it gives none."""
    key = each.autoincrement_column
    if key is None:
        return None
    if connection.dialect.name == "sqlite":
        statement = select(_NUMBERS.c.seq).where(_NUMBERS.c.name == each.name)
    else:
        statement = select(func.pg_sequence_last_value(_sequence(each.name, key.name)))
    last: int | None = connection.execute(statement).scalar()
    return last


def _number_on(connection: Connection, each: Table, last: int | None) -> None:
    """Let a table give out ids behind ``last``: that of a row which is gone must not return."""
    key = each.autoincrement_column
    if key is None or last is None:
        return
    if connection.dialect.name == "sqlite":
        connection.execute(delete(_NUMBERS).where(_NUMBERS.c.name == each.name))
        connection.execute(insert(_NUMBERS).values(name=each.name, seq=last))
    else:
        connection.execute(select(func.setval(_sequence(each.name, key.name), last)))


def _sequence(name: str, key: str) -> ColumnElement[Any]:
    return func.to_regclass(func.pg_get_serial_sequence(name, key))

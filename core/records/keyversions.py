"""Versions of a namespace's key: one more for new data, and the older ones gone once nothing needs them.

Between the two lies the resealing of what is stored (``core/pipeline/resealing.py``). How far it has come stands in
counters of the record store, one for each table that holds values under the keys of namespaces.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Table, and_, delete, func, insert, or_, select, update

from core.crypto.envelope import head_of
from core.crypto.keys import next_secret, wrap_namespace_key
from core.errors import NotFound
from core.records.company import CompanyRecords, Namespace, use_newest_keys
from core.records.counters import cursor_of_resealing, set_counter
from core.records.erasure import mark_erased
from core.records.tables import deletions, jobs, memories, namespace_keys, namespaces, shards


@dataclass(frozen=True)
class SealedTable:
    """A table with values under the keys of namespaces: its columns, and what their addresses call them."""

    table: Table
    columns: Mapping[str, str]

    def cursor(self, namespace_id: int) -> str:
        """Return the name of the counter that holds the row to go on from; none: all are done."""
        return cursor_of_resealing(namespace_id, self.table.name)

    def older(self, namespace_id: int, version: int) -> ColumnElement[bool]:
        """Return the condition that a row of the namespace holds a value under another version of its key."""
        columns = [self.table.c[name] for name in self.columns]
        named = [and_(column.is_not(None), func.substr(column, 1, 5) != head_of(version)) for column in columns]
        return and_(self.table.c.namespace_id == namespace_id, or_(*named))


BY_NAMESPACE: Final = (
    SealedTable(deletions, {"sealed_scope": "scope"}),
    SealedTable(jobs, {"sealed_answer": "answer"}),
    SealedTable(memories, {"sealed": "content", "sealed_vectors": "vectors"}),
)


def add_version(records: CompanyRecords, namespace: Namespace) -> int:
    """Give a namespace a new version of its key, which seals from now on; return its number. Raises ``NotFound``."""
    with records.database.write() as connection:
        if not use_newest_keys(connection, [namespace]):
            raise NotFound("the namespace was deleted meanwhile", field="namespace")
        version = namespace.key.version + 1
        with records.changing(connection, namespace.id):
            secret = next_secret(namespace.key.newest.secret)
            wrapped = wrap_namespace_key(records.key.newest, namespace.public_id, version, secret)
            connection.execute(
                insert(namespace_keys).values(
                    namespace_id=namespace.id, version=version, wrapped=wrapped, created_at=records.clock()
                )
            )
            mine = namespaces.c.id == namespace.id
            connection.execute(update(namespaces).where(mine).values(key_version=version))
        begin_resealing(connection, namespace.id)
    namespace.key.at_least(version)
    return version


def begin_resealing(connection: Connection, namespace_id: int) -> None:
    """Let every row of a namespace be looked at, from the first on."""
    for sealed in BY_NAMESPACE:
        set_counter(connection, sealed.cursor(namespace_id), 1)


def retiring(connection: Connection) -> list[int]:
    """Return the namespaces (row ids) that have more than one version of their key."""
    several = select(namespace_keys.c.namespace_id).group_by(namespace_keys.c.namespace_id).having(func.count() > 1)
    return list(connection.execute(several.order_by(namespace_keys.c.namespace_id)).scalars())


def older_values(connection: Connection, namespace_id: int, version: int) -> int:
    """Count the rows of a namespace that hold a value under another version of its key. Reads all of them."""
    return sum(
        connection.execute(
            select(func.count()).select_from(sealed.table).where(sealed.older(namespace_id, version))
        ).scalar_one()
        for sealed in BY_NAMESPACE
    )


def older_shards(connection: Connection, namespace_id: int, version: int) -> int:
    """Count the shards of a namespace under another version of its key, those just replaced included."""
    statement = select(func.count()).select_from(shards)
    return int(connection.execute(statement.where(*_older_shards(namespace_id, version))).scalar_one())


def erase_versions(records: CompanyRecords, namespace: Namespace, version: int) -> bool:
    """Erase every version of a namespace's key before ``version``, unless a shard needs one; say whether it was done.

    The caller has seen that no row needs one: none can come to, since writers seal with the newest alone. Nothing is
    erased where ``version`` is not the newest any more: what the caller has seen may be sealed with it.
    """
    with records.database.write() as connection:
        if not use_newest_keys(connection, [namespace]) or namespace.key.version != version:
            return False
        if older_shards(connection, namespace.id, version):
            return False
        with records.changing(connection, namespace.id):
            older = namespace_keys.c.version < version
            connection.execute(delete(namespace_keys).where(namespace_keys.c.namespace_id == namespace.id, older))
        mark_erased(connection, records.clock(), "company")
    return True


def _older_shards(namespace_id: int, version: int) -> tuple[Any, ...]:
    return shards.c.namespace_id == namespace_id, shards.c.key_version != version

"""A company's record store: its database, its key, and its namespaces with theirs."""

import threading
from dataclasses import dataclass
from pathlib import Path

import orjson
from sqlalchemy import Connection, Row, delete, insert, select, update

from core.clock import Clock
from core.crypto.keys import CompanyKey, NamespaceKey, new_secret, unwrap_namespace_key, wrap_namespace_key
from core.errors import NotFound
from core.ids import new_id
from core.records.engine import Database
from core.records.receipts import Kind, add_rows, finish_receipts, open_receipt
from core.records.tables import State, jobs, memories, namespace_keys, namespaces, shards


@dataclass(frozen=True)
class Namespace:
    """A namespace with its name and key opened."""

    id: int
    public_id: str
    name: str
    key: NamespaceKey
    created_at: int


class CompanyRecords:
    """The record store of one company. Namespaces are looked up by the HMAC of their name and kept open."""

    def __init__(self, key: CompanyKey, database: Database, folder: Path, clock: Clock, purge_us: int) -> None:
        """``purge_us``: within this time after a deletion no file holds anything of it."""
        self.key = key
        self.database = database
        self.folder = folder
        self.clock = clock
        self.purge_us = purge_us
        self._by_name: dict[str, Namespace] = {}
        self._by_id: dict[int, Namespace] = {}
        self._lock = threading.Lock()

    @property
    def company(self) -> str:
        """The company's opaque id."""
        return self.key.company

    def known(self, name: str) -> Namespace | None:
        """Return a namespace that this process has open, without asking the store."""
        return self._by_name.get(name)

    def namespace(self, name: str) -> Namespace:
        """Return a live namespace by name. Raises ``NotFound``, ``IntegrityError``."""
        if known := self._by_name.get(name):
            return known
        handle = self.key.handle("namespace", name)
        with self.database.read() as connection:
            row = connection.execute(select(namespaces).where(namespaces.c.handle == handle)).first()
            if row is None:
                raise NotFound("there is no such namespace; the first write creates it", field="namespace")
            return self._remember(connection, row)

    def namespace_by_id(self, namespace_id: int) -> Namespace:
        """Return a live namespace by its row id. Raises ``NotFound``, ``IntegrityError``."""
        if known := self._by_id.get(namespace_id):
            return known
        with self.database.read() as connection:
            row = connection.execute(
                select(namespaces).where(namespaces.c.id == namespace_id, namespaces.c.deleted_at.is_(None))
            ).first()
            if row is None:
                raise NotFound("the namespace was deleted")
            return self._remember(connection, row)

    def ensure_namespace(self, name: str) -> Namespace:
        """Return the namespace of that name, creating it with a key of its own when there is none."""
        try:
            return self.namespace(name)
        except NotFound:
            pass
        handle = self.key.handle("namespace", name)
        with self.database.write() as connection:
            row = connection.execute(select(namespaces).where(namespaces.c.handle == handle)).first()
            if row is None:
                row = self._insert(connection, name, handle)
            return self._remember(connection, row)

    def namespaces(self) -> list[Namespace]:
        """Return every live namespace, oldest first."""
        with self.database.read() as connection:
            rows = connection.execute(
                select(namespaces).where(namespaces.c.deleted_at.is_(None)).order_by(namespaces.c.id)
            ).all()
            return [self._by_id.get(row.id) or self._remember(connection, row) for row in rows]

    def delete_namespace(self, name: str) -> str:
        """Destroy a namespace: its key first, then all its content, in one transaction; return the receipt's id.

        What remains in shards cannot be opened any more. Raises ``NotFound``.
        """
        namespace = self.namespace(name)
        now = self.clock()
        with self.database.write() as connection:
            alive = connection.execute(
                update(namespaces)
                .where(namespaces.c.id == namespace.id, namespaces.c.deleted_at.is_(None))
                .values(handle=None, sealed=None, deleted_at=now, generation=namespaces.c.generation + 1)
            ).rowcount
            if not alive:
                self.forget(namespace)
                raise NotFound("the namespace was deleted meanwhile", field="namespace")
            connection.execute(delete(namespace_keys).where(namespace_keys.c.namespace_id == namespace.id))
            public_id = self._erase_all(connection, namespace, now)
            finish_receipts(connection, namespace.id, now)  # others, too: nothing is left to be found
            connection.execute(
                update(jobs)
                .where(jobs.c.namespace_id == namespace.id, jobs.c.finished_at.is_(None))
                .values(finished_at=now)
            )
            connection.execute(
                update(shards)
                .where(shards.c.namespace_id == namespace.id, shards.c.retired_at.is_(None))
                .values(retired_at=now)
            )
        self.forget(namespace)
        return public_id

    def forget(self, namespace: Namespace) -> None:
        """Drop a namespace's key from memory, because it was deleted here or elsewhere."""
        with self._lock:
            if self._by_name.get(namespace.name) == namespace:
                del self._by_name[namespace.name]
            self._by_id.pop(namespace.id, None)

    def _erase_all(self, connection: Connection, namespace: Namespace, now: int) -> str:
        """Erase every row of a namespace; those that were deleted before keep the receipt they have."""
        receipt, public_id = open_receipt(connection, namespace.id, Kind.NAMESPACE, now, self.purge_us)
        mine = memories.c.namespace_id == namespace.id
        erased = connection.execute(
            update(memories)
            .where(mine, memories.c.state != State.DELETED)
            .values(
                state=State.DELETED,
                sealed=None,
                sealed_vectors=None,
                session=None,
                deleted_at=now,
                deletion_id=receipt,
                lease=None,
                lease_until=None,
            )
        ).rowcount
        connection.execute(update(memories).where(mine, memories.c.overlay).values(overlay=False))
        add_rows(connection, receipt, erased)
        return public_id

    def _insert(self, connection: Connection, name: str, handle: bytes) -> Row[tuple[object, ...]]:
        public_id, now = new_id("ns"), self.clock()
        sealed = self.key.seal(orjson.dumps({"name": name}), "namespace", public_id)
        row = connection.execute(
            insert(namespaces)
            .values(public_id=public_id, handle=handle, sealed=sealed, created_at=now)
            .returning(namespaces)
        ).one()
        wrapped = wrap_namespace_key(self.key, public_id, 1, new_secret())
        connection.execute(
            insert(namespace_keys).values(namespace_id=row.id, version=1, wrapped=wrapped, created_at=now)
        )
        return row

    def _remember(self, connection: Connection, row: Row[tuple[object, ...]]) -> Namespace:
        wrapped = connection.execute(
            select(namespace_keys)
            .where(namespace_keys.c.namespace_id == row.id)
            .order_by(namespace_keys.c.version.desc())
        ).first()
        if wrapped is None:
            raise NotFound("the namespace was deleted")
        key = unwrap_namespace_key(self.key, row.public_id, wrapped.version, wrapped.wrapped)
        name = orjson.loads(self.key.open(row.sealed, "namespace", row.public_id))["name"]
        namespace = Namespace(row.id, row.public_id, name, key, row.created_at)
        with self._lock:
            self._by_name[name] = self._by_id[row.id] = namespace
        return namespace

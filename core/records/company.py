"""A company's record store: its database, its key, and its namespaces with theirs."""

import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import orjson
from sqlalchemy import Connection, Row, bindparam, delete, insert, select, update

from core.clock import Clock
from core.crypto.envelope import key_version_of
from core.crypto.keyring import CompanyKeys, NamespaceKeys
from core.crypto.keys import NamespaceKey, new_secret, unwrap_namespace_key, wrap_namespace_key
from core.errors import IntegrityError, NotFound
from core.ids import new_id
from core.records.counters import cursor_of_resealing, drop_counters, read_counter
from core.records.engine import Database
from core.records.erasure import mark_erased
from core.records.receipts import Kind, add_rows, finish_receipts, open_receipt
from core.records.states import check_state, seal_state, seal_states
from core.records.tables import State, jobs, memories, namespace_keys, namespaces, shards

COMPANY_KEY: Final = "company_key"  # the counter that says which version of the company's key seals; none: the first


@dataclass(frozen=True)
class Namespace:
    """A namespace with its name and key opened."""

    id: int
    public_id: str
    name: str
    key: NamespaceKeys
    created_at: int


_VERSIONS: Final = select(namespaces.c.id, namespaces.c.key_version).where(
    namespaces.c.id.in_(bindparam("wanted", expanding=True)), namespaces.c.deleted_at.is_(None)
)


def use_newest_keys(connection: Connection, opened: Iterable[Namespace]) -> set[int]:
    """Seal nothing in this write transaction with a namespace's key that was rotated away; return who is alive.

    A key may be erased once what it sealed is sealed anew, so nothing new may come after. Raises ``KeyUnusable``.
    """
    asked = list(opened)
    found = connection.execute(_VERSIONS, {"wanted": list({namespace.id for namespace in asked})}).all()
    newest = {row.id: row.key_version for row in found}
    for namespace in asked:
        if namespace.id in newest:
            namespace.key.at_least(newest[namespace.id])
    return set(newest)


class CompanyRecords:
    """The record store of one company. Namespaces are looked up by the HMAC of their name and kept open."""

    def __init__(self, key: CompanyKeys, database: Database, folder: Path, clock: Clock, purge_us: int) -> None:
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

    @contextmanager
    def changing(self, connection: Connection, namespace_id: int) -> Iterator[None]:
        """Let a block change a namespace's shards or keys: they are compared with its sealed state, then sealed anew.

        Raises ``IntegrityError`` when they were not those last committed.
        """
        self.use_newest_key(connection)
        check_state(connection, self.key, namespace_id)
        yield
        seal_state(connection, self.key, namespace_id)

    @contextmanager
    def committing(self, namespace_id: int) -> Iterator[Connection]:
        """Yield a write transaction that ends work on a namespace's shards: see :meth:`changing`."""
        with self.database.write(finishing=True) as connection, self.changing(connection, namespace_id):
            yield connection

    def check(self, connection: Connection, namespace: Namespace) -> None:
        """Raise ``IntegrityError`` unless a namespace's shards, keys and generation are those last committed."""
        check_state(connection, self.key, namespace.id)

    def accept_states(self) -> None:
        """Take every namespace's shards, keys and generation as they are."""
        with self.database.write() as connection:
            self.use_newest_key(connection)
            seal_states(connection, self.key)

    def use_newest_key(self, connection: Connection) -> None:
        """Seal nothing in this write transaction with a company key that was rotated away. Raises ``KeyUnusable``."""
        self.key.at_least(read_counter(connection, COMPANY_KEY))

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
            return self._remember_as(name, connection, row)

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
        """Return the namespace of that name, creating it with a key of its own when there is none.

        Raises ``IntegrityError``.
        """
        try:
            return self.namespace(name)
        except NotFound:
            pass
        handle = self.key.handle("namespace", name)
        with self.database.write() as connection:
            row = connection.execute(select(namespaces).where(namespaces.c.handle == handle)).first()
            if row is None:
                row = self._insert(connection, name, handle)
            return self._remember_as(name, connection, row)

    def namespaces(self) -> list[Namespace]:
        """Return every live namespace, oldest first."""
        with self.database.read() as connection:
            rows = connection.execute(
                select(namespaces).where(namespaces.c.deleted_at.is_(None)).order_by(namespaces.c.id)
            ).all()
            return [self._by_id.get(row.id) or self._remember(connection, row) for row in rows]

    def delete_namespace(self, name: str) -> str:
        """Destroy a namespace: its key first, then all its content, in one transaction; return the receipt's id.

        What remains in shards cannot be opened any more; maintenance empties the database's files of the key. Raises
        ``NotFound``.
        """
        namespace = self.namespace(name)
        now = self.clock()
        with self.database.write() as connection:
            alive = connection.execute(
                update(namespaces)
                .where(namespaces.c.id == namespace.id, namespaces.c.deleted_at.is_(None))
                .values(
                    handle=None, sealed=None, sealed_state=None, deleted_at=now, generation=namespaces.c.generation + 1
                )
            ).rowcount
            if not alive:
                self.forget(namespace)
                raise NotFound("the namespace was deleted meanwhile", field="namespace")
            connection.execute(delete(namespace_keys).where(namespace_keys.c.namespace_id == namespace.id))
            mark_erased(connection, now, "company")
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
        drop_counters(connection, cursor_of_resealing(namespace.id))
        add_rows(connection, receipt, erased)
        return public_id

    def _insert(self, connection: Connection, name: str, handle: bytes) -> Row[tuple[object, ...]]:
        self.use_newest_key(connection)
        public_id, now = new_id("ns"), self.clock()
        sealed = self.key.seal(orjson.dumps({"name": name}), "namespace", public_id)
        row = connection.execute(
            insert(namespaces)
            .values(public_id=public_id, handle=handle, sealed=sealed, created_at=now)
            .returning(namespaces)
        ).one()
        wrapped = wrap_namespace_key(self.key.newest, public_id, 1, new_secret())
        connection.execute(
            insert(namespace_keys).values(namespace_id=row.id, version=1, wrapped=wrapped, created_at=now)
        )
        seal_state(connection, self.key, row.id)
        return row

    def _remember(self, connection: Connection, row: Row[tuple[object, ...]]) -> Namespace:
        keys = NamespaceKeys(
            self._unwrap(connection, row.id, row.public_id), partial(self._load_keys, row.id, row.public_id)
        )
        name = orjson.loads(self.key.open(row.sealed, "namespace", row.public_id))["name"]
        namespace = Namespace(row.id, row.public_id, name, keys, row.created_at)
        with self._lock:
            self._by_name[name] = self._by_id[row.id] = namespace
        return namespace

    def _remember_as(self, name: str, connection: Connection, row: Row[tuple[object, ...]]) -> Namespace:
        """Take a row that a handle led to. Handles are not bound to their rows: whose it is, the sealed name says."""
        namespace = self._remember(connection, row)
        if namespace.name != name:
            raise IntegrityError(f"namespace {namespace.public_id} has the handle of another; restore a backup")
        return namespace

    def _load_keys(self, namespace_id: int, public_id: str) -> Mapping[int, NamespaceKey]:
        with self.database.read() as connection:
            return self._unwrap(connection, namespace_id, public_id)

    def _unwrap(self, connection: Connection, namespace_id: int, public_id: str) -> Mapping[int, NamespaceKey]:
        """Return every version of a namespace's key, if they are those last committed."""
        check_state(connection, self.key, namespace_id)
        wrapped = connection.execute(select(namespace_keys).where(namespace_keys.c.namespace_id == namespace_id)).all()
        if not wrapped:
            raise NotFound("the namespace was deleted")
        return {row.version: self._unwrapped(public_id, row.version, row.wrapped) for row in wrapped}

    def _unwrapped(self, public_id: str, version: int, wrapped: bytes) -> NamespaceKey:
        parent = self.key.of_version(key_version_of(wrapped))
        return unwrap_namespace_key(parent, public_id, version, wrapped)

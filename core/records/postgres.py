"""A record database in a schema of a PostgreSQL database.

Every transaction names its schema, its bounds and its lock in the message that begins it, so nothing depends on the
session: a connection pooler between us changes nothing.

Writers of a schema exclude each other by its advisory lock, as they do by SQLite's, and read what was committed before
they got it. Those that touch only rows they hold (``shared``) take the same lock shared.
"""

import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Final

import structlog
from sqlalchemy import Connection

from core.clock import Clock
from core.errors import Unavailable
from core.records.engine import Database
from core.records.pgconnections import Connections
from core.records.schema import HEADS, METADATA, Kind, is_older, revision_of, upgrade

_STATEMENT_S: Final = 60  # the longest, a look at each of a million rows, takes a few seconds
_LOCK_S: Final = 30
_IDLE_WRITING_S: Final = 15  # then the server ends a writer that was paused or cut off, before those behind it give up
_IDLE_READING_S: Final = 600
_READ: Final = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
_WRITE: Final = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"

log = structlog.get_logger()


class PostgresDatabase(Database):
    """One schema; the connections are its place's."""

    def __init__(self, connections: Connections, schema: str, kind: Kind, root: Path, clock: Clock) -> None:
        super().__init__(kind, root, clock)
        self.schema = schema
        self._connections = connections
        self._closed = False
        self._turns = threading.Lock()  # one connection of a process waits to write; the others stay free
        lock = lock_number(schema)
        locked = f"SELECT pg_advisory_xact_lock({lock})"
        bounds = f"SET LOCAL statement_timeout = {_STATEMENT_S * 1_000}; SET LOCAL lock_timeout = {_LOCK_S * 1_000}"
        path = f'SET LOCAL search_path = "{schema}"'
        self._read = f"{_READ}; {path}; {bounds}; {_idle(_IDLE_READING_S)}"
        self._write = f"{_WRITE}; {path}; {bounds}; {_idle(_IDLE_WRITING_S)}; {locked}"
        self._share = self._write.replace("xact_lock(", "xact_lock_shared(")
        self._migrate = (
            f"{_WRITE}; {path}; SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0; {_idle(0)}; {locked}"
        )

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Yield a connection inside a read transaction: one snapshot. Raises ``Unavailable``."""
        with self._transaction(self._read) as connection:
            yield connection

    def settle(self) -> None:
        """Do nothing: the database's files are its server's, and no copy of ours is complete."""

    def checkpoint(self) -> bool:
        """Let the server reuse the space of erased rows. Raises ``Unavailable``.

        Their sealed bytes stay in it until it does: ``docs/postgresql.md`` says for how long, and what else has them.
        """
        tables = ", ".join(f'"{self.schema}"."{name}"' for name in METADATA[self.kind].tables)
        self._connections.run_alone(f"VACUUM {tables}")
        return True

    def copies(self) -> list[Path]:
        """Return none: a migration is one transaction, and copies are the operator's."""
        return []

    def close(self) -> None:
        """Refuse whoever comes from now on."""
        self._closed = True

    def migrate(self, on_upgrade: Callable[[Connection], None]) -> None:
        """Bring the schema up to date, or make it, while nobody else writes. Raises ``ConfigurationError``."""
        with self.read() as connection:
            if not is_older(revision_of(connection), self.kind):
                return
        with self._transaction(self._migrate) as connection:
            found = revision_of(connection)
            if not is_older(found, self.kind):  # another process did it
                return
            connection.exec_driver_sql(f'CREATE SCHEMA IF NOT EXISTS "{self.schema}"')
            upgrade(connection, self.kind, on_upgrade)
        if found is not None:
            log.warning("schema_upgrade", database=self.kind, schema=HEADS[self.kind])

    def drop(self) -> None:
        """Remove the schema with all that is in it, once no other transaction uses it. Raises ``Unavailable``."""
        with self._transaction(self._write) as connection:
            connection.exec_driver_sql(f'DROP SCHEMA IF EXISTS "{self.schema}" CASCADE')

    @contextmanager
    def _writing(self, *, synced: bool, shared: bool) -> Iterator[Connection]:
        opening = self._share if shared else self._write
        if not synced:
            opening += "; SET LOCAL synchronous_commit = off"
        with nullcontext() if shared else self._turn(), self._transaction(opening) as connection:
            yield connection

    @contextmanager
    def _turn(self) -> Iterator[None]:
        if not self._turns.acquire(timeout=_LOCK_S):
            raise Unavailable("others of this process keep the record store busy", code="store_busy")
        try:
            yield
        finally:
            self._turns.release()

    @contextmanager
    def _transaction(self, opening: str) -> Iterator[Connection]:
        if self._closed:
            raise Unavailable("the record store is closed", code="stopping")
        with self._connections.transaction(opening) as connection:
            yield connection


def alone_opening(name: str, timeout_s: float) -> str:
    """Return what begins a transaction that only holds a lock of that name; below 0 it waits without end."""
    wait_ms = 0 if timeout_s < 0 else max(1, int(timeout_s * 1_000))
    lock = lock_number(f"alone {name}")
    bounds = f"SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = {wait_ms}"
    return f"{_WRITE}; {bounds}; {_idle(0)}; SELECT pg_advisory_xact_lock({lock})"


def lock_number(name: str) -> int:
    """Return the number of the advisory lock of that name: 64 bits of its digest, signed as PostgreSQL wants them."""
    return int.from_bytes(hashlib.sha256(f"ostraka {name}".encode()).digest()[:8], signed=True)


def _idle(seconds: int) -> str:
    return f"SET LOCAL idle_in_transaction_session_timeout = {seconds * 1_000}"

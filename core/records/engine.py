"""Opening a record database: SQLite by default, one writer at a time, readers on snapshots.

A ``Database`` gives two kinds of transaction. ``write()`` takes the writer's lock at once (no lost upgrades) and
is durable when it returns; ``read()`` sees one snapshot from its first statement to its end. A freeze stands in the
database: a write transaction that begins after it is refused, one that began before is waited for by the lock.
"""

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from filelock import FileLock
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError

from core.clock import Clock, now_us
from core.durability import make_durable_directory, sync
from core.errors import Unavailable
from core.records.frozen import Freeze, Phase, read_freeze, refuse_frozen, write_freeze
from core.records.schema import Kind, migrate
from core.records.turns import WriteTurns

_BUSY_TIMEOUT_S = 30
_READERS_WAIT_MS = 200  # many times longer than a search reads
_CACHE_KIB = 8_192
_PRAGMAS = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",  # a commit is on the disk when it returns
    "PRAGMA secure_delete=ON",  # erased values are overwritten, not unlinked
    "PRAGMA journal_size_limit=33554432",  # bytes the write-ahead log keeps after a checkpoint
    "PRAGMA temp_store=MEMORY",  # sorting never spills to a file
    "PRAGMA foreign_keys=ON",
    f"PRAGMA cache_size=-{_CACHE_KIB}",
)


class Database:
    """A record database with its transactions."""

    def __init__(self, engine: Engine, kind: Kind, turns: WriteTurns, clock: Clock) -> None:
        self.engine = engine
        self.kind = kind
        self._write_engine = engine.execution_options(ostraka_write=True)
        self._turns = turns
        self._clock = clock

    @contextmanager
    def write(self, *, finishing: bool = False, synced: bool = True) -> Iterator[Connection]:
        """Yield a connection inside a write transaction; commit durably, or roll back on an exception.

        ``finishing`` is for the end of work that was begun before: a freeze waits for it. ``synced=False`` is for
        what can be done again: the commit outlives the process, but a power cut undoes it, together with what came
        after it, until the next synced one. Raises ``Frozen`` while the server is frozen, ``Unavailable`` when the
        store cannot be written (locked for too long, disk full).
        """
        with self._writing(synced=synced) as connection:
            refuse_frozen(connection, self.kind, self._clock(), finishing=finishing)
            yield connection

    def freeze(self) -> Freeze:
        """Return the freeze that holds now."""
        with self.read() as connection:
            return read_freeze(connection, self.kind).at(self._clock())

    def set_freeze(self, freeze: Freeze) -> None:
        """Put a freeze in force, or end it; once it is in force, every write before it has been committed."""
        with self._writing() as connection:
            write_freeze(connection, self.kind, freeze, self._clock())

    @property
    def frozen(self) -> bool:
        """Whether no work may begin."""
        return self.freeze().phase is not Phase.OPEN

    def settle(self) -> None:
        """Empty the write-ahead log, however long it takes: a copy of the database file alone is then complete.

        Raises ``Unavailable`` when readers do not let go of the log.
        """
        deadline = time.monotonic() + _BUSY_TIMEOUT_S
        while not self.checkpoint():
            if time.monotonic() > deadline:
                raise Unavailable("the record store is being read without a pause; try again", code="store_busy")
        if self.engine.dialect.name == "sqlite":
            sync(Path(str(self.engine.url.database)))

    def checkpoint(self) -> bool:
        """Empty the write-ahead log, so that erased pages leave it too; ``False`` while readers hold it back.

        Writers wait meanwhile, so that readers are given a moment only. Raises ``Unavailable``.
        """
        if self.engine.dialect.name != "sqlite":
            return True
        with self._turns.take(), _translated():
            connection = self.engine.raw_connection()
            cursor = connection.cursor()
            try:
                cursor.execute(f"PRAGMA busy_timeout={_READERS_WAIT_MS}")
                busy, *_ = cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            finally:
                try:
                    cursor.execute(f"PRAGMA busy_timeout={_BUSY_TIMEOUT_S * 1_000}")
                finally:
                    connection.close()
        return not busy

    @contextmanager
    def _writing(self, *, synced: bool = True) -> Iterator[Connection]:
        with (
            self._turns.take(),
            _translated(),
            self._write_engine.connect() as connection,
            nullcontext() if synced else _unsynced(connection),
            connection.begin(),
        ):
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Yield a connection inside a read transaction: one snapshot. Raises ``Unavailable``."""
        with _translated(), self.engine.begin() as connection:
            yield connection

    def close(self) -> None:
        """Close every pooled connection."""
        self.engine.dispose()
        self._turns.close()


def open_database(
    path: Path, kind: Kind, clock: Clock = now_us, on_upgrade: Callable[[Connection], None] = lambda _: None
) -> Database:
    """Open the SQLite database at ``path``, creating it or migrating its schema under a lock first.

    ``on_upgrade(connection)`` ends the transaction of a migration.

    Raises ``ConfigurationError`` when its schema is newer than this server.
    """
    make_durable_directory(path.parent)
    engine = create_engine(
        f"sqlite:///{path}",
        connect_args={"timeout": _BUSY_TIMEOUT_S, "check_same_thread": False},
        pool_size=16,
        max_overflow=48,
        hide_parameters=True,  # an exception must not carry what a statement carried
    )
    event.listen(engine, "connect", _configure)
    event.listen(engine, "begin", _begin)
    with FileLock(path.with_suffix(".lock")):  # a migration may take minutes; the kernel frees it when a process dies
        try:
            with _translated():
                migrate(engine, kind, on_upgrade)
        except BaseException:
            engine.dispose()
            raise
        sync(path.parent)
    return Database(engine, kind, WriteTurns(path.with_suffix(".turn"), _BUSY_TIMEOUT_S), clock)


@contextmanager
def _translated() -> Iterator[None]:
    """Raise what a database says of itself as errors of ours."""
    try:
        yield
    except DBAPIError as error:
        if _is_damage(error.orig):
            raise _damaged() from None
        if error.connection_invalidated or type(error.orig).__name__ == "OperationalError":
            reason = str(error.orig).partition("\n")[0]
            raise Unavailable(f"the record store does not answer: {reason}", code="store_unavailable") from None
        raise
    except sqlite3.DatabaseError as error:  # of the cursors that SQLAlchemy does not know of
        if _is_damage(error):
            raise _damaged() from None
        if not isinstance(error, sqlite3.OperationalError):
            raise
        raise Unavailable(f"the record store does not answer: {error}", code="store_unavailable") from None


def _is_damage(error: BaseException | None) -> bool:
    """Say whether SQLite found pages that are not its own."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the rest says more exactly what
    return code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


def _damaged() -> Unavailable:
    return Unavailable(
        "the record store's file is damaged; look at the disk, then restore a backup", code="store_damaged"
    )


@contextmanager
def _unsynced(connection: Connection) -> Iterator[None]:
    """Let the transaction of the block be committed without waiting for the disk."""
    if connection.dialect.name != "sqlite":
        yield
        return
    cursor = connection.connection.cursor()  # below SQLAlchemy, which would begin a transaction: too late
    cursor.execute("PRAGMA synchronous=NORMAL")
    try:
        yield
    finally:
        cursor.execute("PRAGMA synchronous=FULL")


def _configure(dbapi_connection: Any, _record: object) -> None:
    dbapi_connection.isolation_level = None  # transactions begin where we say so
    for pragma in _PRAGMAS:
        dbapi_connection.execute(pragma)


def _begin(connection: Connection) -> None:
    write = connection.get_execution_options().get("ostraka_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

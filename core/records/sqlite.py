"""A record database in a SQLite file: the kernel and SQLite's own lock keep writers apart."""

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import structlog
from filelock import FileLock
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError

from core.clock import Clock, now_us
from core.durability import make_durable_directory, sync
from core.errors import IntegrityError, Unavailable
from core.records.copying import copy_database
from core.records.engine import Database
from core.records.schema import HEADS, Kind, is_older, revision_of, upgrade
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

log = structlog.get_logger()


class SqliteDatabase(Database):
    """A database file; ``engine`` has its connections."""

    def __init__(self, engine: Engine, path: Path, kind: Kind, clock: Clock) -> None:
        super().__init__(kind, path.parents[2] if kind == "company" else path.parent, clock)
        self.engine = engine
        self.path = path
        self._write_engine = engine.execution_options(ostraka_write=True)
        self._turns = WriteTurns(path.with_suffix(".turn"), _BUSY_TIMEOUT_S)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Yield a connection inside a read transaction: one snapshot. Raises ``Unavailable``."""
        with _translated(), self.engine.begin() as connection:
            yield connection

    def settle(self) -> None:
        """Empty the write-ahead log, however long it takes: a copy of the database file alone is then complete.

        Raises ``Unavailable`` when readers do not let go of the log.
        """
        deadline = time.monotonic() + _BUSY_TIMEOUT_S
        while not self.checkpoint():
            if time.monotonic() > deadline:
                raise Unavailable("the record store is being read without a pause; try again", code="store_busy")
        sync(self.path)

    def checkpoint(self) -> bool:
        """Empty the write-ahead log, so that erased pages leave it too; ``False`` while readers hold it back.

        Writers wait meanwhile, so that readers are given a moment only. Raises ``Unavailable``.
        """
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

    def copies(self) -> list[Path]:
        """Return the copies that migrations left beside the file."""
        return sorted(self.path.parent.glob(f"{self.path.name}.before-*"))

    def close(self) -> None:
        """Close every pooled connection."""
        self.engine.dispose()
        self._turns.close()

    @contextmanager
    def _writing(self, *, synced: bool, shared: bool) -> Iterator[Connection]:  # noqa: ARG002 - writers never share
        with (
            self._turns.take(),
            _translated(),
            self._write_engine.connect() as connection,
            nullcontext() if synced else _unsynced(connection),
            connection.begin(),
        ):
            yield connection


def open_sqlite(
    path: Path, kind: Kind, clock: Clock = now_us, on_upgrade: Callable[[Connection], None] = lambda _: None
) -> SqliteDatabase:
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
                _migrate(engine, path, kind, on_upgrade)
        except BaseException:
            engine.dispose()
            raise
        sync(path.parent)
    return SqliteDatabase(engine, path, kind, clock)


def _migrate(engine: Engine, path: Path, kind: Kind, on_upgrade: Callable[[Connection], None]) -> None:
    """Bring the file to this server's schema, a copy kept of one that holds something. The caller holds the lock."""
    with engine.connect() as connection:
        found = revision_of(connection)
    if not is_older(found, kind):
        return
    if found is not None:
        _keep_copy(path, kind)
    with _references_unchecked(engine) as connection:
        upgrade(connection, kind, on_upgrade)


def _keep_copy(path: Path, kind: Kind) -> None:
    """Copy the database to a file beside it, named for what it was before; one of an attempt that failed makes room."""
    target = path.with_name(f"{path.name}.before-{HEADS[kind]}")
    partial = target.with_name(f"{target.name}.partial")
    partial.unlink(missing_ok=True)
    copy_database(path, partial)
    partial.rename(target)
    sync(target.parent)
    log.warning("schema_upgrade", database=kind, schema=HEADS[kind], copy=str(target))


@contextmanager
def _references_unchecked(engine: Engine) -> Iterator[Connection]:
    """Yield a connection inside a write transaction; references are looked at once, at its end.

    SQLite changes a column by making its table anew, which takes it from under what refers to it for a moment
    (sqlite.org, "Making Other Kinds Of Table Schema Changes").
    """
    with engine.execution_options(ostraka_write=True).connect() as connection:
        raw = connection.connection.cursor()
        raw.execute("PRAGMA foreign_keys=OFF")  # it does nothing once a transaction has begun
        try:
            with connection.begin():
                yield connection
                if connection.exec_driver_sql("PRAGMA foreign_key_check").first() is not None:
                    raise IntegrityError("a migration would leave references to what is not there; nothing was changed")
        finally:
            raw.execute("PRAGMA foreign_keys=ON")


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

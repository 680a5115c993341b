"""Opening a record database: SQLite by default, one writer at a time, readers on snapshots.

A ``Database`` gives two kinds of transaction. ``write()`` takes the writer's lock at once (no lost upgrades) and
is durable when it returns; ``read()`` sees one snapshot from its first statement to its end.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError

from core.durability import make_durable_directory, sync
from core.errors import Unavailable
from core.records.schema import Kind, migrate
from core.records.turns import WriteTurns

_BUSY_TIMEOUT_S = 30
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

    def __init__(self, engine: Engine, turns: WriteTurns) -> None:
        self.engine = engine
        self._write_engine = engine.execution_options(ostraka_write=True)
        self._turns = turns

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Yield a connection inside a write transaction; commit durably, or roll back on an exception.

        Raises ``Unavailable`` when the store cannot be written (locked for too long, disk full).
        """
        with self._turns.take(), self._translated(), self._write_engine.begin() as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Yield a connection inside a read transaction: one snapshot. Raises ``Unavailable``."""
        with self._translated(), self.engine.begin() as connection:
            yield connection

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            if error.connection_invalidated or type(error.orig).__name__ == "OperationalError":
                reason = str(error.orig).partition("\n")[0]
                raise Unavailable(f"the record store does not answer: {reason}", code="store_unavailable") from None
            raise

    def close(self) -> None:
        """Close every pooled connection."""
        self.engine.dispose()
        self._turns.close()


def open_database(path: Path, kind: Kind) -> Database:
    """Open the SQLite database at ``path``, creating it or migrating its schema under a lock first.

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
    with FileLock(path.with_suffix(".lock"), timeout=60):
        try:
            migrate(engine, kind)
        except BaseException:
            engine.dispose()
            raise
        sync(path.parent)
    return Database(engine, WriteTurns(path.with_suffix(".turn"), _BUSY_TIMEOUT_S))


def _configure(dbapi_connection: Any, _record: object) -> None:
    dbapi_connection.isolation_level = None  # transactions begin where we say so
    for pragma in _PRAGMAS:
        dbapi_connection.execute(pragma)


def _begin(connection: Connection) -> None:
    write = connection.get_execution_options().get("ostraka_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

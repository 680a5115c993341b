"""The connections of a process to a PostgreSQL server, and transactions on them.

A transaction that cannot begin, because the server is being replaced, is begun anew for a while: nothing has happened
yet. What breaks off later is ``Interrupted`` as long as nothing was committed, and a commit without an answer is
neither: nobody may do it anew by himself.
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import Any, Final

import psycopg
from psycopg.pq import TransactionStatus
from sqlalchemy import Connection, create_engine
from sqlalchemy.exc import SQLAlchemyError

from core.errors import Interrupted
from core.records.engine import PATIENCE_S, again
from core.records.pgerrors import committing, is_away, translated

_POOLED: Final = 8  # kept open by a process that needs fewer most of the time
_POOL_WAIT_S: Final = 10
_RECYCLE_S: Final = 1_800
_STANDBY: Final = "0A000"  # what a server in recovery says to a transaction that begins to write
_USED: Final = "used"  # a mark on a connection
_PARAMETERS: Final[dict[str, Any]] = {
    "autocommit": True,  # transactions begin where we say so
    "connect_timeout": 5,
    "keepalives": 1,  # with these a host that vanished is noticed within half a minute
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}


class Connections:
    """A pool of them. Safe from any thread."""

    def __init__(self, url: str, password: str | None, connections_max: int, *, prepare: bool = True) -> None:
        """``prepare``: keep statements prepared that are sent often, which a pooler may lose between transactions."""
        secret: dict[str, Any] = {} if password is None else {"password": password}
        parameters = _PARAMETERS | secret | ({} if prepare else {"prepare_threshold": None})
        kept = min(_POOLED, connections_max)
        # No ping before use: the message that begins a transaction is one, and is sent anew on another connection.
        self._engine = create_engine(
            "postgresql+psycopg://",
            creator=lambda: psycopg.connect(url, **parameters),
            pool_size=kept,
            max_overflow=connections_max - kept,
            pool_timeout=_POOL_WAIT_S,
            pool_recycle=_RECYCLE_S,
            pool_use_lifo=True,
            hide_parameters=True,  # an exception must not carry what a statement carried
        )
        self._away_at = -PATIENCE_S

    @contextmanager
    def transaction(self, opening: str) -> Iterator[Connection]:
        """Yield a connection in the transaction that ``opening`` begins; commit, or roll back on an exception.

        ``opening`` is sent as one message. Raises ``Interrupted`` where nothing was committed and doing it anew may
        work, ``Unavailable``.
        """
        with self._begin(opening) as connection:
            try:
                with translated():
                    yield connection
                    _refuse_broken(connection)
            except BaseException:
                with suppress(SQLAlchemyError, psycopg.Error):  # a connection that is gone has rolled back
                    connection.rollback()
                raise
            with committing():
                connection.commit()

    def run_alone(self, statement: str) -> None:
        """Run a statement that must be in no transaction. Raises ``Unavailable``."""
        with translated(), self._engine.connect() as connection:
            _send(connection, statement)

    def close(self) -> None:
        """Close every connection that is not in use."""
        self._engine.dispose()

    def _begin(self, opening: str) -> Connection:
        """Return a connection in a transaction, once the server lets us; at once or not where it was away just now."""
        away = time.monotonic() - self._away_at < PATIENCE_S
        try:
            return again(partial(self._try_to_begin, opening), 0 if away else PATIENCE_S)
        except Interrupted:
            self._away_at = time.monotonic()
            raise

    def _try_to_begin(self, opening: str) -> Connection:
        """Return a connection in a transaction. Pooled ones that turn out to be dead are passed over at once."""
        while True:
            with ExitStack() as failed, translated():
                connection = failed.enter_context(self._engine.connect())
                connection.begin()
                try:
                    _send(connection, opening)
                except psycopg.Error as error:
                    used, standby = connection.info.get(_USED), error.sqlstate == _STANDBY
                    if not standby and not is_away(error):
                        raise
                    connection.invalidate(error)
                    if used:
                        continue
                    if standby:
                        raise Interrupted("the record store's server is a standby, which takes no writes") from None
                    raise
                connection.info[_USED] = True
                failed.pop_all()
                return connection


def _send(connection: Connection, statements: str) -> None:
    """Send statements below SQLAlchemy, which would begin a transaction of its own, as one message."""
    cursor: Any = connection.connection.cursor()
    cursor.execute(statements, prepare=False)


def _refuse_broken(connection: Connection) -> None:
    """Raise ``Interrupted`` where a statement failed and was passed over: a commit would roll back, and not say so."""
    driver: Any = connection.connection.dbapi_connection
    if driver.info.transaction_status != TransactionStatus.INTRANS:
        raise Interrupted("the record store broke off a transaction; try again")

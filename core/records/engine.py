"""A record database, wherever it lies: one writer at a time, readers on snapshots.

A ``Database`` gives two kinds of transaction. ``write()`` excludes every other writer from its start and is durable
when it returns; ``read()`` sees one snapshot from its first statement to its end. A freeze stands in the database: a
write transaction that begins after it is refused, one that began before is waited for by the lock.

``sqlite.py`` and ``postgres.py`` are the two there are; ``places.py`` chooses.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final, TypeVar

from sqlalchemy import Connection
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_exponential

from core.clock import Clock
from core.errors import Interrupted
from core.records.frozen import Freeze, Phase, read_freeze, refuse_frozen, write_freeze
from core.records.schema import Kind

PATIENCE_S: Final = 4.0  # with a store that is away: longer than a connection pooler or a standby takes to take over

T = TypeVar("T")


class Database(ABC):
    """A record database with its transactions."""

    def __init__(self, kind: Kind, root: Path, clock: Clock) -> None:
        """``root`` is the data directory of this host."""
        self.kind = kind
        self.root = root
        self._clock = clock

    @contextmanager
    def write(self, *, finishing: bool = False, synced: bool = True, shared: bool = False) -> Iterator[Connection]:
        """Yield a connection inside a write transaction; commit durably, or roll back on an exception.

        ``finishing`` is for the end of work that was begun before: a freeze waits for it. ``synced=False`` is for
        what can be done again: the commit outlives the process, but a power cut undoes it, together with what came
        after it, until the next synced one. ``shared`` is for what touches only rows that it locked or holds a claim
        on: where the store can, several such writers go on at once, and every other writer still excludes them.
        Raises ``Frozen`` while the server is frozen, ``Unavailable`` when the store cannot be written (locked for too
        long, disk full, away), ``Interrupted`` of these when it broke off before anything was committed.
        """
        with self._writing(synced=synced, shared=shared) as connection:
            refuse_frozen(connection, self.kind, self._clock(), finishing=finishing)
            yield connection

    @abstractmethod
    def read(self) -> AbstractContextManager[Connection]:
        """Yield a connection inside a read transaction: one snapshot. Raises ``Unavailable``."""

    def freeze(self) -> Freeze:
        """Return the freeze that holds now."""
        with self.read() as connection:
            return read_freeze(connection, self.kind).at(self._clock())

    def set_freeze(self, freeze: Freeze) -> None:
        """Put a freeze in force, or end it; once it is in force, every write before it has been committed."""
        with self._writing(synced=True, shared=False) as connection:
            write_freeze(connection, self.kind, freeze, self._clock())

    @property
    def frozen(self) -> bool:
        """Whether no work may begin."""
        return self.freeze().phase is not Phase.OPEN

    @abstractmethod
    def settle(self) -> None:
        """Make sure, however long it takes, that a copy of the database's files is complete. Raises ``Unavailable``."""

    @abstractmethod
    def checkpoint(self) -> bool:
        """Let what was erased leave the store's files; ``False`` while readers hold it back. Raises ``Unavailable``."""

    @abstractmethod
    def copies(self) -> list[Path]:
        """Return the copies that migrations of the database left on this host."""

    @abstractmethod
    def close(self) -> None:
        """Let go of it; who uses it from now on is refused."""

    @abstractmethod
    def _writing(self, *, synced: bool, shared: bool) -> AbstractContextManager[Connection]:
        """Yield a connection inside a write transaction, whatever is frozen."""


def again(work: Callable[[], T], patience_s: float = PATIENCE_S) -> T:
    """Return what a piece of work returns, done anew for so long where its transaction was interrupted.

    Raises what it raises, ``Interrupted`` when that goes on.
    """
    retrying = Retrying(
        retry=retry_if_exception_type(Interrupted),
        stop=stop_after_delay(patience_s),
        wait=wait_exponential(0.02, max=0.5),
        reraise=True,
    )
    return retrying(work)

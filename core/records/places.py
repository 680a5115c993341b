"""Where the record databases of a server are: files of its data directory, or schemas of one PostgreSQL database.

The one place that knows both. Who needs a database, a look at what is there, or a lock that holds wherever the store is
shared, asks the place.
"""

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Final, Protocol

from filelock import FileLock, Timeout
from sqlalchemy import Connection

from core.clock import Clock
from core.databaseurl import ENV_PASSWORD, split_password
from core.errors import ConfigurationError, Unavailable
from core.privacy import read_password
from core.records.engine import Database
from core.records.folders import company_folder, list_companies, remove_folder
from core.records.schema import Kind
from core.records.sqlite import open_sqlite
from core.settings import Storage

_FILES: Final[dict[Kind, str]] = {"control": "control.db", "audit": "audit.db", "company": "records.db"}
_FILE_SETTING: Final = "[storage] database_password_file"


class Place(Protocol):
    """The record databases of one server. Used from several threads and processes, on several hosts where it can."""

    root: Path
    """The data directory of this host."""

    where: str
    """Where the databases are, for people. Nothing secret."""

    def open(
        self, kind: Kind, clock: Clock, company: str = "", on_upgrade: Callable[[Connection], None] = lambda _: None
    ) -> Database:
        """Open a database, made or brought up to date first; ``on_upgrade(connection)`` ends that transaction.

        Raises ``ConfigurationError`` when its schema is newer than this server, ``Unavailable``.
        """

    def revision(self, kind: Kind, company: str = "") -> str | None:
        """Return the schema of a database as it is, ``None`` where there is no database. Changes nothing."""

    def companies(self) -> Sequence[str]:
        """Return the ids of the companies of which there is anything."""

    def drop(self, company: str) -> None:
        """Remove what there is of a company that was deleted, if anything. Raises ``Unavailable``, ``OSError``."""

    def alone(self, name: str, timeout_s: float = -1) -> AbstractContextManager[None]:
        """Hold a lock that one process of the store holds at a time; below 0 it is waited for without end.

        Raises ``Unavailable`` when another keeps it for longer.
        """

    def close(self) -> None:
        """Close every connection."""


class FilePlace:
    """A data directory with SQLite files in it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.where = str(root)

    def path(self, kind: Kind, company: str = "") -> Path:
        """Return the file of a database."""
        return (company_folder(self.root, company) if kind == "company" else self.root) / _FILES[kind]

    def open(
        self, kind: Kind, clock: Clock, company: str = "", on_upgrade: Callable[[Connection], None] = lambda _: None
    ) -> Database:
        """Open a file: see ``Place``."""
        return open_sqlite(self.path(kind, company), kind, clock, on_upgrade)

    def revision(self, kind: Kind, company: str = "") -> str | None:
        """Return the schema of a file: see ``Place``. Raises ``sqlite3.Error`` where it is none of ours."""
        path = self.path(kind, company)
        if not path.is_file():
            return None
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True)) as connection:
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        return str(row[0]) if row else "none"

    def companies(self) -> Sequence[str]:
        """Return the companies that have a folder."""
        return list_companies(self.root)

    def drop(self, company: str) -> None:
        """Remove the folder of a company."""
        remove_folder(company_folder(self.root, company))

    @contextmanager
    def alone(self, name: str, timeout_s: float = -1) -> Iterator[None]:
        """Hold a lock on this host: see ``Place``."""
        try:
            with FileLock(self.root / f"{name}.lock", timeout=timeout_s):
                yield
        except Timeout:
            raise Unavailable(f"another process holds {name}.lock; try again", code="store_busy") from None

    def close(self) -> None:
        """Nothing is held."""


def open_place(storage: Storage, environment: Mapping[str, str]) -> Place:
    """Return where the settings say that the databases are. ``environment`` may hold the password of PostgreSQL.

    Raises ``ConfigurationError`` when two passwords are given, or what PostgreSQL needs is not installed.
    """
    root = storage.path.absolute()
    if not storage.database_url:
        if storage.database_password_file:
            raise ConfigurationError("[storage] database_password_file: no database_url is set; set it or remove this")
        return FilePlace(root)
    try:
        from core.records.pgplace import PostgresPlace  # noqa: PLC0415 - its driver is an extra
    except ImportError:
        raise ConfigurationError(
            "[storage] database_url: the driver of PostgreSQL is not installed; pip install 'ostraka-server[postgres]'"
        ) from None
    url, password = split_password(storage.database_url)
    path = storage.database_password_file
    given = {
        "[storage] database_url": password,
        ENV_PASSWORD: environment.get(ENV_PASSWORD),
        _FILE_SETTING: read_password(path, _FILE_SETTING) if path else None,
    }
    found = {name: value for name, value in given.items() if value}
    if len(found) > 1:
        raise ConfigurationError(f"{' and '.join(found)}: both give a password of the database; keep one of them")
    password = next(iter(found.values()), None)
    return PostgresPlace(root, url, password, storage.database_connections, prepare=storage.database_prepare)

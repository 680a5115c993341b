"""A server's record databases in PostgreSQL: a schema for the control store, one for the audit log, one per company."""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import structlog
from sqlalchemy import Connection, text

from core.clock import Clock, now_us
from core.errors import ConfigurationError, IntegrityError
from core.records.folders import company_folder, list_companies, remove_folder
from core.records.pgconnections import Connections
from core.records.postgres import PostgresDatabase, alone_opening
from core.records.schema import Kind, revision_of

_VERSION_MIN: Final = 140_000  # as the server counts: the oldest that is still looked after
_PREFIX: Final = "ostraka_"
_COMPANY: Final = re.compile(r"[a-z0-9_]{1,50}")  # what may be part of a schema's name
_ASKED: Final = ("server_version_num", "synchronous_commit", "fsync", "full_page_writes")

log = structlog.get_logger()


class PostgresPlace:
    """A PostgreSQL database, and the data directory of this host beside it: see ``Place``."""

    def __init__(
        self, root: Path, url: str, password: str | None, connections_max: int, *, prepare: bool = True
    ) -> None:
        """``url`` has no password; ``connections_max`` is how many a process may open: see ``Connections``."""
        self.root = root
        self.where = url
        self._connections = Connections(url, password, connections_max, prepare=prepare)

    def open(
        self, kind: Kind, clock: Clock, company: str = "", on_upgrade: Callable[[Connection], None] = lambda _: None
    ) -> PostgresDatabase:
        """Open a schema: see ``Place``."""
        database = self._database(kind, clock, company)
        if kind == "control":
            _refuse_unsafe(database)
        database.migrate(on_upgrade)
        return database

    def revision(self, kind: Kind, company: str = "") -> str | None:
        """Return the version of a schema: see ``Place``."""
        with self._database(kind, company=company).read() as connection:
            return revision_of(connection)

    def companies(self) -> Sequence[str]:
        """Return the companies that have a schema, or a folder on this host."""
        like = f"{_PREFIX}co_%".replace("_", r"\_")
        with self._database("control").read() as connection:
            found = connection.execute(text("SELECT nspname FROM pg_namespace WHERE nspname LIKE :it"), {"it": like})
            schemas = {name.removeprefix(_PREFIX) for name in found.scalars()}
        return sorted(schemas.union(list_companies(self.root)))

    def drop(self, company: str) -> None:
        """Remove the schema of a company, and its folder on this host."""
        self._database("company", company=company).drop()
        remove_folder(company_folder(self.root, company))

    @contextmanager
    def alone(self, name: str, timeout_s: float = -1) -> Iterator[None]:
        """Hold a lock on every host: see ``Place``. A transaction holds it, so that it ends with its connection."""
        with self._connections.transaction(alone_opening(name, timeout_s)):
            yield

    def close(self) -> None:
        """Close every connection that is not in use."""
        self._connections.close()

    def _database(self, kind: Kind, clock: Clock = now_us, company: str = "") -> PostgresDatabase:
        if kind == "company" and not _COMPANY.fullmatch(company):
            raise IntegrityError("the id of a company is none of ours: the control store was changed; restore a backup")
        schema = _PREFIX + (company if kind == "company" else kind)
        return PostgresDatabase(self._connections, schema, kind, self.root, clock)


def _refuse_unsafe(database: PostgresDatabase) -> None:
    """Raise ``ConfigurationError`` where the server is too old, or would acknowledge what it has not written."""
    with database.read() as connection:
        found = {name: connection.exec_driver_sql(f"SHOW {name}").scalar_one() for name in _ASKED}
    if int(found["server_version_num"]) < _VERSION_MIN:
        raise ConfigurationError("[storage] database_url: the server is older than PostgreSQL 14; upgrade it")
    if found["synchronous_commit"] == "off":
        raise ConfigurationError(
            "[storage] database_url: synchronous_commit is off for this role or database, and a power cut would undo "
            "what was acknowledged; switch it on"
        )
    if "off" in {found["fsync"], found["full_page_writes"]}:
        log.error("store_not_durable", meaning="the PostgreSQL server runs without fsync or full_page_writes")

"""Schema versions: Alembic migrations, one line of revisions for each kind of database.

A database that holds something is copied before it is migrated, and a migration is one transaction: one that fails
leaves it as it was. Alembic is imported only when there is something to migrate: it costs a start 10 MB that it need
not pay.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal

import structlog
from sqlalchemy import Connection, Engine, inspect, text

from core.durability import sync
from core.errors import ConfigurationError, IntegrityError
from core.records.copying import copy_database

Kind = Literal["control", "company", "audit"]
HEADS: Final[dict[Kind, str]] = {"control": "control_0003", "company": "company_0003", "audit": "audit_0001"}
_SCRIPTS = Path(__file__).parent / "migrations"

log = structlog.get_logger()


def migrate(engine: Engine, kind: Kind, on_upgrade: Callable[[Connection], None] = lambda _: None) -> None:
    """Bring the database to this server's schema. The caller holds the migration lock.

    ``on_upgrade(connection)`` does in the same transaction what a migration cannot, for want of a key.
    Raises ``ConfigurationError`` when the schema is one that this server does not know, ``Unavailable`` when there is
    no room for the copy.
    """
    found = _revision(engine)
    if found == HEADS[kind]:
        return
    known = {path.stem for path in (_SCRIPTS / kind).glob("*.py")}
    if found is not None and found not in known:
        raise ConfigurationError(
            f"the {kind} database has schema {found}, this server knows up to {HEADS[kind]}; "
            "start the newer server, or restore a backup made before its migration"
        )
    if found is not None:
        _keep_copy(engine, kind)
    _upgrade(engine, kind, on_upgrade)


def copies_before(engine: Engine) -> list[Path]:
    """Return the copies that migrations of a database left beside it."""
    if engine.dialect.name != "sqlite":
        return []
    source = Path(str(engine.url.database))
    return sorted(source.parent.glob(f"{source.name}.before-*"))


def _keep_copy(engine: Engine, kind: Kind) -> None:
    """Copy the database to a file beside it, named for what it was before; one of an attempt that failed makes room."""
    if engine.dialect.name != "sqlite":
        return
    source = Path(str(engine.url.database))
    target = source.with_name(f"{source.name}.before-{HEADS[kind]}")
    partial = target.with_name(f"{target.name}.partial")
    partial.unlink(missing_ok=True)
    copy_database(source, partial)
    partial.rename(target)
    sync(target.parent)
    log.warning("schema_upgrade", database=kind, schema=HEADS[kind], copy=str(target))


def _revision(engine: Engine) -> str | None:
    with engine.connect() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return None
        revision: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
        return revision


def _upgrade(engine: Engine, kind: Kind, on_upgrade: Callable[[Connection], None]) -> None:
    from alembic import command  # noqa: PLC0415 - see the module's docstring
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS))
    config.set_main_option("path_separator", "newline")
    config.set_main_option("version_locations", str(_SCRIPTS / kind))
    with _references_unchecked(engine) as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, HEADS[kind])
        on_upgrade(connection)


@contextmanager
def _references_unchecked(engine: Engine) -> Iterator[Connection]:
    """Yield a connection inside a write transaction; references are looked at once, at its end.

    SQLite changes a column by making its table anew, which takes it from under what refers to it for a moment
    (sqlite.org, "Making Other Kinds Of Table Schema Changes").
    """
    if engine.dialect.name != "sqlite":
        with engine.begin() as connection:
            yield connection
        return
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

"""Schema versions: Alembic migrations, one line of revisions for each kind of database, the same on every backend.

A migration is one transaction: one that fails leaves the database as it was. Alembic is imported only when there is
something to migrate: it costs a start 10 MB that it need not pay.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal

from sqlalchemy import Connection, MetaData, inspect, text

from core.errors import ConfigurationError
from core.records import audittables, tables

Kind = Literal["control", "company", "audit"]
HEADS: Final[dict[Kind, str]] = {"control": "control_0003", "company": "company_0003", "audit": "audit_0001"}
METADATA: Final[dict[Kind, MetaData]] = {
    "control": tables.control,
    "company": tables.company,
    "audit": audittables.audit,
}
_SCRIPTS = Path(__file__).parent / "migrations"


def revision_of(connection: Connection) -> str | None:
    """Return the schema that a database has, ``None`` where it has none yet."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    revision: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return revision


def is_older(found: str | None, kind: Kind) -> bool:
    """Say whether a schema is to be brought up to date. Raises ``ConfigurationError`` when it is one we do not know."""
    known = {path.stem for path in (_SCRIPTS / kind).glob("*.py")}
    if found is not None and found not in known:
        raise ConfigurationError(
            f"the {kind} database has schema {found}, this server knows up to {HEADS[kind]}; "
            "start the newer server, or restore a backup made before its migration"
        )
    return found != HEADS[kind]


def upgrade(connection: Connection, kind: Kind, on_upgrade: Callable[[Connection], None] = lambda _: None) -> None:
    """Bring a database to this server's schema in the caller's transaction, which excludes every other one.

    ``on_upgrade(connection)`` does what a migration cannot, for want of a key.
    """
    from alembic import command  # noqa: PLC0415 - see the module's docstring
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS))
    config.set_main_option("path_separator", "newline")
    config.set_main_option("version_locations", str(_SCRIPTS / kind))
    config.attributes["connection"] = connection
    command.upgrade(config, HEADS[kind])
    on_upgrade(connection)

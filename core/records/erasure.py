"""Erased wrapped keys leave the files, too: a key is destroyed once no file of its database holds it any more.

Who erases one notes it in the same transaction. The note is cleared only after the write-ahead log was emptied and the
copies that migrations and killed backups left were removed; maintenance and the next start go on where a process died.
"""

from typing import Final

import structlog
from sqlalchemy import Connection, select, update

from core.durability import sync
from core.records.counters import read_counter, set_counter
from core.records.engine import Database
from core.records.schema import Kind
from core.records.tables import store
from core.records.workplace import clear_workplace

log = structlog.get_logger()

_ERASED_AT: Final = "keys_erased_at"  # the counter of a company's record store


def mark_erased(connection: Connection, now: int, kind: Kind = "control") -> None:
    """Note that this transaction erases wrapped keys."""
    if kind == "control":
        connection.execute(update(store).values(keys_erased_at=now))
    else:
        set_counter(connection, _ERASED_AT, now)


def erased_at(connection: Connection, kind: Kind = "control") -> int | None:
    """Return when keys were erased that the files may still hold; ``None`` when they are free of them."""
    if kind == "control":
        at: int | None = connection.execute(select(store.c.keys_erased_at)).scalar()
        return at
    return read_counter(connection, _ERASED_AT) or None


def settle_erased(database: Database) -> bool:
    """Empty a database's files of the keys that were erased; say whether none is left in them.

    ``False`` while readers hold the log back, or a backup is made. Raises ``Frozen``, ``Unavailable``.
    """
    with database.read() as connection:
        noted = erased_at(connection, database.kind)
    if noted is None:
        return True
    for copy in database.copies():
        copy.unlink(missing_ok=True)
        sync(copy.parent)
        log.warning("schema_copy_removed", copy=str(copy), meaning="it held keys that were destroyed since")
    if not clear_workplace(database.root) or not database.checkpoint():
        return False
    with database.write() as connection:
        if erased_at(connection, database.kind) != noted:  # more was erased since the log was emptied
            return False
        if database.kind == "control":
            connection.execute(update(store).values(keys_erased_at=None))
        else:
            set_counter(connection, _ERASED_AT, 0)
    return True

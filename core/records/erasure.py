"""Erased wrapped keys leave the files, too: a key is destroyed once no file of the control store holds it any more.

Who erases one notes it in the same transaction. The note is cleared only after the write-ahead log was emptied and the
copies that migrations left were removed; maintenance and the next start go on where a process died.
"""

import structlog
from sqlalchemy import Connection, select, update

from core.durability import sync
from core.records.engine import Database
from core.records.schema import copies_before
from core.records.tables import store

log = structlog.get_logger()


def mark_erased(connection: Connection, now: int) -> None:
    """Note that this transaction erases wrapped keys."""
    connection.execute(update(store).values(keys_erased_at=now))


def settle_erased(database: Database) -> bool:
    """Empty the control store's files of the keys that were erased; say whether none is left in them.

    ``False`` while readers hold the log back. Raises ``Frozen``, ``Unavailable``.
    """
    with database.read() as connection:
        erased_at = connection.execute(select(store.c.keys_erased_at)).scalar()
    if erased_at is None:
        return True
    for copy in copies_before(database.engine):
        copy.unlink(missing_ok=True)
        sync(copy.parent)
        log.warning("schema_copy_removed", copy=str(copy), meaning="it held keys that were destroyed since")
    if not database.checkpoint():
        return False
    with database.write() as connection:
        unchanged = store.c.keys_erased_at == erased_at  # else more was erased since the log was emptied
        return connection.execute(update(store).where(unchanged).values(keys_erased_at=None)).rowcount > 0

"""Work that waits and nobody has claimed, told without loading the stages that do it."""

from typing import Final

from sqlalchemy import select

from core.pipeline.doorbell import EMBED, EMBED_BULK, INDEX
from core.records.claims import has_pending
from core.records.company import CompanyRecords
from core.records.tables import Lane, State, memories

_LANES: Final = {EMBED: Lane.INTERACTIVE, EMBED_BULK: Lane.BULK}


def forgotten_work(records: CompanyRecords, queue: str) -> bool:
    """Say whether work of a queue waits and nobody has claimed it, as when its ring was lost."""
    with records.database.read() as connection:
        if queue in _LANES:
            return has_pending(connection, _LANES[queue], records.clock())
        if queue == INDEX:
            embedded = select(memories.c.id).where(memories.c.state == State.EMBEDDED)
            # In the order of the index of embedded rows: SQLite would choose a larger one, and read all of it.
            return connection.execute(embedded.order_by(memories.c.namespace_id).limit(1)).first() is not None
    return True  # maintenance finds out by itself

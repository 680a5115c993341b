"""What a company keeps, all namespaces together: its rows with content, and their bytes before they were sealed."""

from typing import Final

from sqlalchemy import Connection, func, select

from core.records.backlog import Load
from core.records.tables import memories

_KEPT: Final = select(func.count(), func.coalesce(func.sum(memories.c.bytes), 0)).where(memories.c.deleted_at.is_(None))


def read_usage(connection: Connection) -> Load:
    """Return how much is kept, versions included; it is read from one small index alone."""
    rows, size = connection.execute(_KEPT).one()
    return Load(int(rows), int(size))

"""Reading the rows behind candidates, a few at a time, by id."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Connection, Row, bindparam, select

from core.records.tables import memories

# Built once: making the statement anew takes as long as running it. By id alone: asked for the namespace as well,
# SQLite reads the whole namespace through another index.
_ROWS: Final = select(*[column for column in memories.c if column is not memories.c.sealed_vectors]).where(
    memories.c.id.in_(bindparam("ids", expanding=True))
)
_HOPS_MAX = 100  # updates of one memory that may wait for their embedding and still be seen at once


def fetch_candidates(connection: Connection, namespace_id: int, ids: Sequence[int]) -> dict[int, Row[Any]]:
    """Return the rows of ``ids`` that the namespace has, by id."""
    if not ids:
        return {}
    rows = connection.execute(_ROWS, {"ids": ids})
    return {row.id: row for row in rows if row.namespace_id == namespace_id}


def fetch_successors(connection: Connection, namespace_id: int, rows: Mapping[int, Row[Any]]) -> dict[int, Row[Any]]:
    """Return the rows that closed ``rows``, those that closed them, and so on to the open ones."""
    found: dict[int, Row[Any]] = {}
    fresh = rows
    for _ in range(_HOPS_MAX):
        wanted = {row.closed_by for row in fresh.values() if row.closed_by is not None} - found.keys()
        if not wanted:
            break
        fresh = fetch_candidates(connection, namespace_id, sorted(wanted))
        found.update(fresh)
    return found

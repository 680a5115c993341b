"""Small durable numbers of a company: places to go on from, times of rounds, tries."""

from typing import Final

from sqlalchemy import Connection, delete, select
from sqlalchemy.dialects import postgresql, sqlite

from core.records.tables import counters

MAINTAINED_AT: Final = "maintained_at"  # when the last round of maintenance ended


def cursor_of_resealing(namespace_id: int, table: str = "") -> str:
    """Return the name of the counter that holds the row of a table to go on from, or what all of a namespace share."""
    return f"reseal-{namespace_id}-{table}"


def read_counter(connection: Connection, name: str) -> int:
    """Return a counter, 0 where nobody has set it."""
    value: int | None = connection.execute(select(counters.c.value).where(counters.c.name == name)).scalar()
    return value or 0


def set_counter(connection: Connection, name: str, value: int) -> None:
    """Set a counter; 0 leaves nothing behind."""
    if value == 0:
        connection.execute(delete(counters).where(counters.c.name == name))
        return
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    statement = dialect.insert(counters).values(name=name, value=value)
    connection.execute(statement.on_conflict_do_update(index_elements=[counters.c.name], set_={"value": value}))


def drop_counters(connection: Connection, prefix: str) -> None:
    """Leave nothing of the counters whose names begin so."""
    connection.execute(delete(counters).where(counters.c.name.startswith(prefix, autoescape=True)))

"""The note in a control database that a store is on its way there: what is there yet is none that a server may open."""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import Column, Connection, MetaData, String, Table, delete, insert, inspect, select

_NOTE: Final = Table(
    "arrival",
    MetaData(),
    Column("store", String(40), nullable=False),
    Column("state", String(80), nullable=False),
)


@dataclass(frozen=True)
class Arrival:
    """Which store is on its way, by its id, and which state of it: what no other is called."""

    store: str
    state: str


def arriving(connection: Connection) -> Arrival | None:
    """Return what is on its way to this place."""
    if not inspect(connection).has_table(_NOTE.name):
        return None
    row = connection.execute(select(_NOTE)).one()
    return Arrival(row.store, row.state)


def note_arrival(connection: Connection, arrival: Arrival) -> None:
    """Say that a store is on its way, instead of any other state of it."""
    _NOTE.create(connection, checkfirst=True)
    connection.execute(delete(_NOTE))
    connection.execute(insert(_NOTE).values(store=arrival.store, state=arrival.state))


def end_arrival(connection: Connection) -> None:
    """Leave nothing of the note."""
    _NOTE.drop(connection)

"""A whole store brought to an empty place, such as a PostgreSQL database: all of it, or nothing a server would open.

The row of ``store`` comes last; until then a note says that the rest is on its way (``arriving.py``). Whoever died is
followed by a repetition, and what was begun from another state of the store is thrown away. No value is opened: rows
travel sealed.
"""

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from sqlalchemy import Connection, Row, Table, delete, insert, select, update
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_exponential

from core.clock import now_us
from core.errors import Conflict, IntegrityError, Unavailable
from core.records.arriving import Arrival, arriving, end_arrival, note_arrival
from core.records.audittables import chain
from core.records.control import ControlStore
from core.records.engine import Database
from core.records.frozen import without_freeze
from core.records.ledger import audit_ledger
from core.records.places import Place
from core.records.schema import Kind
from core.records.tablecopy import compare, copy_table, count_rows, tables_of
from core.records.tables import companies, store

_PATIENCE_S: Final = 60.0  # longer than a database server takes to start again, or its standby to take over

OnCopied = Callable[[int, int], None]


@dataclass(frozen=True)
class Origin:
    """A store that nobody changes meanwhile: its row, what its state is called, and its databases."""

    row: Row[Any]
    state: str
    databases: Sequence[tuple[str, Database]]  # with the company that each is of; the control store, first, names them

    @property
    def arrival(self) -> Arrival:
        """What is noted of it."""
        return Arrival(self.row.id, self.state)

    def count(self) -> int:
        """Return how many rows there are to be copied."""
        total = 0
        for _, database in self.databases:
            with database.read() as connection:
                total += sum(count_rows(connection, table) for table in _tables(database.kind))
        return total


def origin_of(control: ControlStore, state: str) -> Origin:
    """Return a store that nobody changes as an origin. Raises what opening its companies raises."""
    of_companies = [(company, control.records(company).database) for company in control.company_ids()]
    with control.database.read() as connection:
        row = connection.execute(without_freeze(store)).one()
    return Origin(row, state, [("", control.database), ("", control.audit.database), *of_companies])


def bring(origin: Origin, place: Place, on_copied: OnCopied = lambda *_: None) -> None:
    """Copy a store and compare the copy with it; it is there once it is published.

    ``on_copied(rows, of)`` is told how far it has come. Repeated after a death, it goes on where it was. Raises
    ``Conflict`` where the place holds another store, or this one already; ``IntegrityError`` when the copy differs, or
    a ledger does not balance; ``Unavailable``.
    """
    total, before = origin.count(), 0
    with place.alone("start"), closing(place.open("control", now_us)) as control:
        _make_room(origin.arrival, place, control)
    for company, database in origin.databases:
        with closing(place.open(database.kind, now_us, company)) as target, database.read() as source:
            for table in _tables(database.kind):
                told = partial(_tell, on_copied, before, total)
                _patiently(partial(copy_table, source, partial(target.write, synced=False), table, told))
                before += count_rows(source, table)
            _patiently(partial(_check, source, target, company))


def publish(origin: Origin, place: Place) -> None:
    """Make what was brought the store of its place, in one transaction. Raises ``Unavailable``."""
    with closing(place.open("control", now_us)) as control, control.write() as connection:
        connection.execute(insert(store), origin.row._asdict())
        end_arrival(connection)


def refuse_occupied(place: Place, wanted: str) -> None:
    """Raise ``Conflict`` unless a place is empty, or holds nothing but a part of the store ``wanted`` (its id)."""
    if place.revision("control") is None:
        return
    with closing(place.open("control", now_us)) as control, control.read() as connection:
        _noted(connection, place, wanted)


def _make_room(arrival: Arrival, place: Place, control: Database) -> None:
    """See that the place holds nothing, or a part of this very state."""
    with control.read() as connection:
        noted = _noted(connection, place, arrival.store)
        begun = connection.execute(select(companies.c.id)).scalars().all()
    if noted == arrival:
        return
    for company in begun:
        if place.revision("company", company) is not None:
            _clear(place, "company", company)
    _clear(place, "audit")
    with control.write() as connection:
        for table in reversed(tables_of("control")):
            connection.execute(delete(table))
        note_arrival(connection, arrival)


def _noted(connection: Connection, place: Place, wanted: str) -> Arrival | None:
    """Return what is on its way to a place. Raises ``Conflict`` where there is anything but a part of that store."""
    held = connection.execute(select(store.c.id)).scalar()
    noted = arriving(connection)
    if held == wanted:
        raise Conflict(f"{place.where} holds this store already; to use it, set [storage] database_url")
    begun = connection.execute(select(companies.c.id).limit(1)).first()
    if held or (noted is None and begun) or (noted and noted.store != wanted):
        raise Conflict(f"{place.where} holds another store, or a part of one; name an empty database")
    return noted


def _clear(place: Place, kind: Kind, company: str = "") -> None:
    with closing(place.open(kind, now_us, company)) as database, database.write() as connection:
        for table in reversed(tables_of(kind)):
            connection.execute(update(chain).values(sealed_base=None) if table is chain else delete(table))


def _check(source: Connection, target: Database, company: str) -> None:
    with target.read() as connection:
        for table in _tables(target.kind):
            compare(source, connection, table)
        if company and any(balance.imbalance for balance in audit_ledger(connection).values()):
            raise IntegrityError(
                f"the ledger of company {company} does not balance, in the original either; `ostraka doctor` tells more"
            )


def _tables(kind: Kind) -> Sequence[Table]:
    return [table for table in tables_of(kind) if table is not store]


def _tell(on_copied: OnCopied, before: int, total: int, rows: int) -> None:
    on_copied(before + rows, total)


def _patiently(work: Callable[[], None]) -> None:
    """Do a piece of work that can be repeated, again while the place is away for a moment."""
    retrying = Retrying(
        retry=retry_if_exception_type(Unavailable),
        stop=stop_after_delay(_PATIENCE_S),
        wait=wait_exponential(0.1, max=2),
        reraise=True,
    )
    retrying(work)

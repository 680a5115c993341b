"""Anchors: how far a company's record store had come, sealed in the control store, so that an older one is noticed.

The *epoch* of a record store adds up what only ever grows in it: the ids given to accepted memories and jobs, and
each namespace's counts of shard commits and of changed overlays, one of which every deletion raises. The anchor follows
it at each opening, each closing and each round of maintenance. So a file that is put back is noticed when it opens,
unless it is younger than the last anchor: 10 seconds, where maintenance runs.

Who puts back control.db of the same time too has a consistent older server; nothing can tell it from the present one.
"""

from sqlalchemy import Connection, func, select, update

from core.crypto.keys import MasterKey
from core.errors import IntegrityError
from core.records.counters import read_counter
from core.records.engine import Database
from core.records.tables import companies, namespaces

_BYTES = 8


def epoch(connection: Connection) -> int:
    """Return how far a company's record store has come."""
    moves = func.sum(namespaces.c.generation + namespaces.c.overlay_version)
    return read_counter(connection, "ids") + int(connection.execute(select(moves)).scalar() or 0)


def epoch_of(records: Database) -> int:
    """Return how far an open record store has come. Raises ``Unavailable``."""
    with records.read() as connection:
        return epoch(connection)


def check_anchor(connection: Connection, master: MasterKey, company: str, found: int) -> None:
    """Raise ``IntegrityError`` (``rolled_back``) when the epoch of the company's record store is below its anchor."""
    if found < read_anchor(connection, master, company):
        raise IntegrityError(
            f"the record store of company {company} is older than it was: an old file was put back, or the file is "
            "lost. Put the newest one in its place, or control.db of the same time beside it; or give up what was "
            "newer, deletions included: ostraka accept-rollback --company NAME",
            code="rolled_back",
        )


def read_anchor(connection: Connection, master: MasterKey, company: str) -> int:
    """Return the anchor of a company, 0 before there is one. Raises ``IntegrityError``."""
    sealed = connection.execute(select(companies.c.sealed_anchor).where(companies.c.id == company)).scalar()
    return 0 if sealed is None else int.from_bytes(master.open(sealed, "anchor", company))


def write_anchor(connection: Connection, master: MasterKey, company: str, value: int) -> None:
    """Put the anchor of a company where its record store is, forwards or back."""
    sealed = master.seal(value.to_bytes(_BYTES), "anchor", company)
    connection.execute(update(companies).where(companies.c.id == company).values(sealed_anchor=sealed))

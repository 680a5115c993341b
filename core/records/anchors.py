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


def check_anchor(control: Database, master: MasterKey, company: str, records: Database) -> None:
    """Raise ``IntegrityError`` (``rolled_back``) when the company's record store is older than its anchor."""
    with control.read() as connection:
        anchor = _anchor(connection, master, company)
    with records.read() as connection:
        found = epoch(connection)
    if found < anchor:
        raise IntegrityError(
            f"the record store of company {company} is older than it was: an old file was put back, or the file is "
            "lost. Put the newest one in its place, or control.db of the same time beside it; or give up what was "
            "newer, deletions included: ostraka accept-rollback --company NAME",
            code="rolled_back",
        )


def advance_anchor(control: Database, master: MasterKey, company: str, records: Database) -> bool:
    """Let the anchor follow the record store; return whether it moved. Raises ``IntegrityError``, ``Unavailable``."""
    with records.read() as connection:
        found = epoch(connection)
    with control.read() as connection:
        if _anchor(connection, master, company) >= found:
            return False
    with control.write() as connection:
        if _anchor(connection, master, company) < found:  # another process may have come further
            _write(connection, master, company, found)
    return True


def accept_rollback(control: Database, master: MasterKey, company: str, records: Database) -> None:
    """Put the anchor where the record store is, forwards or back."""
    with records.read() as connection:
        found = epoch(connection)
    with control.write() as connection:
        _write(connection, master, company, found)


def _anchor(connection: Connection, master: MasterKey, company: str) -> int:
    sealed = connection.execute(select(companies.c.sealed_anchor).where(companies.c.id == company)).scalar()
    return 0 if sealed is None else int.from_bytes(master.open(sealed, "anchor", company))


def _write(connection: Connection, master: MasterKey, company: str, value: int) -> None:
    sealed = master.seal(value.to_bytes(_BYTES), "anchor", company)
    connection.execute(update(companies).where(companies.c.id == company).values(sealed_anchor=sealed))

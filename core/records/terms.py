"""A company's terms: what it may use, and whether it may do anything at all. Sealed, so that nobody else grants them.

A company without terms is refused, not unbounded. Companies from before the third schema have none: its migration puts
an empty value in their place, and the start that follows seals the terms they had, which were no bounds.
"""

from dataclasses import asdict, dataclass
from typing import Final

import orjson
from sqlalchemy import Connection, Row, select, update

from core.crypto.keys import MasterKey
from core.errors import IntegrityError, NotFound
from core.records.engine import Database
from core.records.tables import companies

_TO_BE_SEALED: Final = b""


@dataclass(frozen=True)
class Terms:
    """What a company may use; ``None`` is no bound."""

    suspended: bool = False
    memories_max: int | None = None  # rows that are not deleted, versions included, in all its namespaces
    bytes_max: int | None = None  # of those, as they are before they are sealed
    requests_per_s: float | None = None


NO_BOUNDS: Final = Terms()


def read_terms(connection: Connection, master: MasterKey, company: str) -> Terms:
    """Return the terms of a company. Raises ``NotFound`` when it was deleted, ``IntegrityError`` when they are gone."""
    statement = select(companies).where(companies.c.id == company, companies.c.deleted_at.is_(None))
    row = connection.execute(statement).first()
    if row is None:
        raise NotFound("there is no such company")
    return open_terms(master, row)


def open_terms(master: MasterKey, row: Row[tuple[object, ...]]) -> Terms:
    """Return the terms that a row of ``companies`` carries. Raises ``IntegrityError``."""
    if not row.sealed_terms:
        raise IntegrityError(f"the terms of company {row.id} are missing")
    return Terms(**orjson.loads(master.open(row.sealed_terms, "terms", row.id)))


def seal_terms(master: MasterKey, company: str, terms: Terms) -> bytes:
    """Return terms sealed for one company."""
    return master.seal(orjson.dumps(asdict(terms)), "terms", company)


def write_terms(connection: Connection, master: MasterKey, company: str, terms: Terms) -> None:
    """Put new terms in the place of a company's."""
    sealed = seal_terms(master, company, terms)
    connection.execute(update(companies).where(companies.c.id == company).values(sealed_terms=sealed))


def seal_old_terms(database: Database, master: MasterKey) -> None:
    """Seal the terms of companies from before the third schema. Raises ``Frozen``, ``Unavailable``."""
    waiting = select(companies.c.id).where(companies.c.sealed_terms == _TO_BE_SEALED)
    with database.read() as connection:
        if connection.execute(waiting.limit(1)).first() is None:
            return
    with database.write() as connection:
        for company in connection.execute(waiting).scalars().all():
            write_terms(connection, master, company, NO_BOUNDS)

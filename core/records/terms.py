"""A company's terms: what it may use, and whether it may do anything at all. Sealed, so that nobody else grants them.

A company without terms is refused, not unbounded. Those from before the third schema get theirs in ``adoption.py``.
"""

from dataclasses import asdict, dataclass
from typing import Final

import orjson
from sqlalchemy import Connection, Row, select, update

from core.crypto.keys import MasterKey
from core.errors import IntegrityError, NotFound
from core.records.tables import companies


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

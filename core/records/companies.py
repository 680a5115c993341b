"""Companies as the control store keeps them: a name, a key and terms, sealed; the id alone once they have ended."""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, Row, insert, select

from core.crypto.keys import MasterKey, new_secret, wrap_company_key
from core.errors import Conflict
from core.ids import new_id
from core.records.keyroll import empty_roll
from core.records.tables import companies, company_keys
from core.records.terms import Terms, open_terms, seal_terms

DEFAULT_COMPANY: Final = "default"
LIVE: Final = companies.c.deleted_at.is_(None)


@dataclass(frozen=True)
class Company:
    """A tenant of the server."""

    id: str
    name: str
    terms: Terms
    created_at: int


def insert_company(connection: Connection, master: MasterKey, name: str, terms: Terms, now: int) -> Company:
    """Create a company with a key of its own. Raises ``Conflict`` when the name is taken."""
    company = Company(new_id("co"), name, terms, now)
    handle = master.handle("company", name)
    if connection.execute(select(companies.c.id).where(companies.c.handle == handle)).first():
        raise Conflict(f"company {name!r} exists; choose another name", field="name")
    connection.execute(
        insert(companies).values(
            id=company.id,
            handle=handle,
            sealed_name=master.seal(name.encode(), "company", company.id),
            sealed_terms=seal_terms(master, company.id, terms),
            sealed_roll=empty_roll(master, company.id),
            created_at=now,
        )
    )
    wrapped = wrap_company_key(master, company.id, 1, new_secret())
    connection.execute(insert(company_keys).values(company_id=company.id, version=1, wrapped=wrapped, created_at=now))
    return company


def open_company(master: MasterKey, row: Row[tuple[object, ...]]) -> Company:
    """Return the company of a live row. Raises ``IntegrityError`` when its name or its terms were tampered with."""
    name = master.open(row.sealed_name, "company", row.id).decode()
    return Company(row.id, name, open_terms(master, row), row.created_at)

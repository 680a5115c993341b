"""Companies as the control store keeps them: a name, a key and terms, sealed; the id alone once they have ended."""

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Row, insert, select

from core.crypto.keys import MasterKey, new_secret, wrap_company_key
from core.errors import Conflict, IntegrityError, NotFound
from core.ids import new_id
from core.records.keyroll import empty_roll
from core.records.tables import companies, company_keys
from core.records.terms import Terms, open_terms, seal_terms

DEFAULT_COMPANY: Final = "default"
_NAME: Final = "company-name"  # its address; an earlier version's was another (``adoption.py``)
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
            sealed_name=seal_name(master, company.id, name),
            sealed_terms=seal_terms(master, company.id, terms),
            sealed_roll=empty_roll(master, company.id),
            created_at=now,
        )
    )
    wrapped = wrap_company_key(master, company.id, 1, new_secret())
    connection.execute(insert(company_keys).values(company_id=company.id, version=1, wrapped=wrapped, created_at=now))
    return company


def open_company(master: MasterKey, row: Row[Any]) -> Company:
    """Return the company of a live row. Raises ``IntegrityError`` when its name or its terms were tampered with."""
    return Company(row.id, open_name(master, row), open_terms(master, row), row.created_at)


def open_name(master: MasterKey, row: Row[Any]) -> str:
    """Return the name that a row of ``companies`` carries. Raises ``IntegrityError``."""
    if not row.sealed_name:
        raise IntegrityError(f"the name of company {row.id} is missing")
    return master.open(row.sealed_name, _NAME, row.id).decode()


def seal_name(master: MasterKey, company: str, name: str) -> bytes:
    """Return a name sealed for one company."""
    return master.seal(name.encode(), _NAME, company)


def list_all(connection: Connection, master: MasterKey) -> list[Company]:
    """Return every company, oldest first. Raises ``IntegrityError`` when a name or terms were tampered with."""
    rows = connection.execute(select(companies).where(LIVE).order_by(companies.c.created_at)).all()
    return [open_company(master, row) for row in rows]


def live_ids(connection: Connection) -> list[str]:
    """Return the id of every company, oldest first; no name is opened."""
    return list(connection.execute(select(companies.c.id).where(LIVE).order_by(companies.c.created_at)).scalars())


def with_id(connection: Connection, master: MasterKey, company: str) -> Company:
    """Return a company by its id. Raises ``NotFound``, ``IntegrityError``."""
    row = connection.execute(select(companies).where(companies.c.id == company, LIVE)).first()
    if row is None:
        raise NotFound("there is no such company")
    return open_company(master, row)


def with_name(connection: Connection, master: MasterKey, name: str) -> Company:
    """Return a company by its name. Raises ``NotFound``, ``IntegrityError``."""
    row = _named(connection, master, name)
    if row is None:
        raise NotFound(f"there is no company {name!r}; `ostraka companies create` makes one", field="company")
    return open_company(master, row)


def home_of(connection: Connection, master: MasterKey) -> str | None:
    """Return the id of the default company, whose administrators operate the server. Raises ``IntegrityError``."""
    row = _named(connection, master, DEFAULT_COMPANY)
    return None if row is None else str(row.id)


def _named(connection: Connection, master: MasterKey, name: str) -> Row[Any] | None:
    """Return the row of the company of that name.

    A handle is not bound to its row: whose it is, the sealed name says. Raises ``IntegrityError`` where they differ.
    """
    row = connection.execute(select(companies).where(companies.c.handle == master.handle("company", name))).first()
    if row is not None and open_name(master, row) != name:
        raise IntegrityError(
            f"company {row.id} has the handle of another: control.db was changed; restore it from a backup"
        )
    return row

"""The life of a company after it was created: bounded, suspended and resumed, ended.

To end one destroys its key first, in the transaction that forgets its name and API keys: whatever is left of its files
then, wherever it lies, is noise. Its id stays, so that nothing of it is ever taken for another's.
"""

from dataclasses import replace
from typing import TypedDict, Unpack

from sqlalchemy import Connection, delete, select, update

from core.crypto.keys import MasterKey
from core.errors import Conflict, NotFound
from core.records.companies import DEFAULT_COMPANY, LIVE, open_name
from core.records.control import ControlStore
from core.records.erasure import mark_erased
from core.records.tables import api_keys, companies, company_keys
from core.records.terms import Terms, read_terms, write_terms


class Changes(TypedDict, total=False):
    """The terms to change; those not named stay."""

    suspended: bool
    memories_max: int | None
    bytes_max: int | None
    requests_per_s: float | None


def change_terms(control: ControlStore, company: str, **changes: Unpack[Changes]) -> Terms:
    """Change some of a company's terms and return them all; every process knows within a second.

    Raises ``NotFound``, ``Conflict`` for suspending the default company, ``IntegrityError``, ``Frozen``,
    ``Unavailable``.
    """
    with control.writing() as (connection, master):
        terms = replace(read_terms(connection, master, company), **changes)
        if terms.suspended:
            _refuse_default(connection, master, company, "suspended")
        write_terms(connection, master, company, terms)
    return terms


def destroy_company(control: ControlStore, company: str) -> None:
    """End a company: its key, its API keys and its name are no values of the control store any more.

    Raises ``NotFound``, ``Conflict`` for the default company, ``IntegrityError``, ``Frozen``, ``Unavailable``.
    """
    with control.writing() as (connection, master):
        _refuse_default(connection, master, company, "deleted")
        now = control.clock()
        ended = connection.execute(
            update(companies)
            .where(companies.c.id == company, LIVE)
            .values(
                handle=None, sealed_name=None, sealed_terms=None, sealed_roll=None, sealed_anchor=None, deleted_at=now
            )
        ).rowcount
        if not ended:
            raise NotFound("there is no such company")
        connection.execute(delete(company_keys).where(company_keys.c.company_id == company))
        connection.execute(delete(api_keys).where(api_keys.c.company_id == company))
        mark_erased(connection, now)


def _refuse_default(connection: Connection, master: MasterKey, company: str, what: str) -> None:
    """Ask the sealed name, not the handle. Raises ``Conflict``, ``IntegrityError``."""
    row = connection.execute(select(companies).where(companies.c.id == company, LIVE)).first()
    if row is not None and open_name(master, row) == DEFAULT_COMPANY:
        raise Conflict(
            f"the default company cannot be {what}: the operator's keys are its own; give agents a company of theirs",
            code="default_company",
        )

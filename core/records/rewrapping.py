"""Sealing anew what a key above has sealed: all of the control store's values, or a company's, in one transaction.

The tables below name every such column. A test compares them with the schema.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

from sqlalchemy import Column, Connection, Row, Select, bindparam, select, update

from core.crypto.keyring import CompanyKeys
from core.crypto.keys import MasterKey
from core.errors import IntegrityError
from core.records.companies import LIVE, open_name
from core.records.keyroll import read_roll, write_roll
from core.records.tables import api_keys, companies, company_keys, namespace_keys, namespaces, store


class _Seal(Protocol):
    def __call__(self, value: bytes, /, *where: str | int) -> bytes: ...


@dataclass(frozen=True)
class SealedColumn:
    """A column of sealed values, and where one of them belongs."""

    column: Column[Any]
    where: Callable[[Row[Any]], tuple[str | int, ...]]
    rows: Select[Any] | None = None  # what ``where`` needs to know; by default, the table


BY_MASTER: Final = (
    SealedColumn(company_keys.c.wrapped, lambda row: ("company-key", row.company_id, row.version)),
    SealedColumn(companies.c.sealed_name, lambda row: ("company-name", row.id)),
    SealedColumn(companies.c.sealed_anchor, lambda row: ("anchor", row.id)),
    SealedColumn(companies.c.sealed_terms, lambda row: ("terms", row.id)),
    SealedColumn(store.c.sealed_audit_key, lambda row: ("audit-key", row.id)),
    SealedColumn(api_keys.c.sealed_grant, lambda row: ("key-grant", row.id, row.secret_hash.hex())),
)

BY_COMPANY: Final = (
    SealedColumn(
        namespace_keys.c.wrapped,
        lambda row: ("namespace-key", row.public_id, row.version),
        select(namespace_keys, namespaces.c.public_id).join(
            namespaces, namespaces.c.id == namespace_keys.c.namespace_id
        ),
    ),
    SealedColumn(namespaces.c.sealed, lambda row: ("namespace", row.public_id)),
    SealedColumn(namespaces.c.sealed_state, lambda row: ("state", row.public_id)),
)


def rewrap_control(connection: Connection, old: MasterKey, new: MasterKey) -> None:
    """Seal every value of the control store anew, and name the new key there. Raises ``IntegrityError``."""
    alive = connection.execute(select(companies).where(LIVE)).all()
    epochs = {row.id: _epoch(connection, old, row.id) for row in alive}
    for row in alive:
        handle = new.handle("company", open_name(old, row))
        connection.execute(update(companies).where(companies.c.id == row.id).values(handle=handle))
    for sealed in BY_MASTER:
        _reseal(connection, sealed, old.open, new.seal)
    for company, epoch in epochs.items():
        if epoch is not None:  # a digest of what was just sealed anew
            write_roll(connection, new, company, epoch)
    connection.execute(update(store).values(master_key_id=new.key_id))


def _epoch(connection: Connection, master: MasterKey, company: str) -> int | None:
    try:
        return read_roll(connection, master, company).epoch
    except IntegrityError as error:
        raise IntegrityError(
            f"nothing was rotated: the API keys of company {company} are not authentic ({error.message}); "
            "where that cannot be, drop them: `ostraka keys reset`"
        ) from None


def rewrap_company(connection: Connection, keys: CompanyKeys) -> None:
    """Seal every value under a company's key anew, with its newest version. Raises ``IntegrityError``."""
    for sealed in BY_COMPANY:
        _reseal(connection, sealed, keys.open, keys.seal)


def _reseal(connection: Connection, sealed: SealedColumn, opened: _Seal, seal: _Seal) -> None:
    column, table = sealed.column, sealed.column.table
    rows = connection.execute(
        (sealed.rows if sealed.rows is not None else select(table)).where(column.is_not(None))
    ).all()
    primary = list(table.primary_key)
    changes = []
    for row in rows:
        where = sealed.where(row)
        value = seal(opened(getattr(row, column.name), *where), *where)
        changes.append({"sealed_anew": value} | {f"of_{key.name}": getattr(row, key.name) for key in primary})
    if changes:
        statement = update(table).where(*(key == bindparam(f"of_{key.name}") for key in primary))
        connection.execute(statement.values({column.name: bindparam("sealed_anew")}), changes)

"""What an earlier version left in the control store, sealed as this one wants it: once, by the first start after.

The third schema seals a company's terms, and a roll over its API keys. Its migration has no key: it leaves empty bytes
in their place, and the start that follows seals the terms there were, which were no bounds, and the keys. Then it seals
the names anew, at the address of this version: a company whose name lies there has been adopted, or was never of an
earlier version, and empty bytes in its row are the work of somebody who wants bounds lifted or keys forgotten. A name
cannot be taken out as a mark could: without it nobody opens the company.
"""

from typing import Any, Final

import orjson
import structlog
from sqlalchemy import Connection, Row, or_, select, update

from core.crypto.keys import MasterKey
from core.errors import IntegrityError
from core.records.companies import LIVE, open_name, seal_name
from core.records.engine import Database
from core.records.grants import Grant
from core.records.keyroll import seal_grant, write_roll
from core.records.tables import api_keys, companies, store
from core.records.terms import NO_BOUNDS, write_terms

log = structlog.get_logger()

_TO_BE_SEALED: Final = b""
_MARKED = select(companies.c.id).where(
    LIVE, or_(companies.c.sealed_terms == _TO_BE_SEALED, companies.c.sealed_roll == _TO_BE_SEALED)
)


def adopt_earlier(database: Database, master: MasterKey) -> None:
    """Seal what an earlier version left. Raises ``Frozen``, ``Unavailable``."""
    with database.read() as connection:
        if connection.execute(_MARKED.limit(1)).first() is None:
            return
    with database.write() as connection:
        if connection.execute(select(store.c.master_key_id)).scalar() == master.key_id:  # else it was rotated just now
            _adopt(connection, master)


def is_adopted(connection: Connection, master: MasterKey) -> bool:
    """Say whether a company of the store is of this version: then none waits to be adopted, whatever it looks like."""
    return any(_adopted(master, row) for row in connection.execute(select(companies).where(LIVE)))


def _adopt(connection: Connection, master: MasterKey) -> None:
    """Adopt every company at once, or none: an earlier version knows no name of this one."""
    rows = connection.execute(select(companies).where(LIVE)).all()
    marked = set(connection.execute(_MARKED).scalars())
    if is_adopted(connection, master):
        for company in marked:
            log.error("company_refused", company=company, meaning="its terms or API keys were taken out of control.db")
        return
    had_keys = connection.execute(select(api_keys.c.id)).first() is not None
    for row in rows:
        try:
            name = master.open(row.sealed_name, "company", row.id).decode()
        except IntegrityError as error:
            log.error("company_refused", company=row.id, code=error.reason, meaning=error.message)
            continue
        if row.sealed_terms == _TO_BE_SEALED:
            write_terms(connection, master, row.id, NO_BOUNDS)
        if row.sealed_roll == _TO_BE_SEALED:
            _adopt_keys(connection, master, row.id, int(had_keys))
        sealed = seal_name(master, row.id, name)
        connection.execute(update(companies).where(companies.c.id == row.id).values(sealed_name=sealed))


def _adopted(master: MasterKey, row: Row[Any]) -> bool:
    try:
        open_name(master, row)
    except IntegrityError:
        return False
    return True


def _adopt_keys(connection: Connection, master: MasterKey, company_id: str, epoch: int) -> None:
    """Take over the keys of a company; with one that is not authentic, it stays closed to all of them.

    Only grants of the earlier form are taken over: no key that was made since comes back.
    """
    rows = connection.execute(select(api_keys).where(api_keys.c.company_id == company_id)).all()
    try:
        grants = [(row, _earlier_grant(master, row)) for row in rows]
    except IntegrityError as error:
        log.error("api_keys_refused", company=company_id, code=error.reason, meaning=error.message)
        return
    for row, grant in grants:
        sealed = seal_grant(master, row.id, row.secret_hash, grant)
        values = {"sealed_grant": sealed, "expires_at": None, "revoked_at": None}
        connection.execute(update(api_keys).where(api_keys.c.id == row.id).values(values))
    write_roll(connection, master, company_id, epoch)


def _earlier_grant(master: MasterKey, row: Row[Any]) -> Grant:
    earlier = orjson.loads(master.open(row.sealed_grant, "api-key", row.id, row.secret_hash.hex()))
    if earlier["company"] != row.company_id:
        raise IntegrityError(f"the API key {row.id} lies with another company")
    return Grant(row.company_id, earlier["scopes"], earlier["patterns"], earlier["expires_at"], row.revoked_at)

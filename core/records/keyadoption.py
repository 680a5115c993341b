"""API keys of an earlier version, whose revocation lay in the clear: sealed again, once, with a roll over them.

The migration marks each company that was there with an empty roll. Only grants of the earlier form are taken over: a
marked company brings back no key that was made since.
"""

from typing import Any

import orjson
import structlog
from sqlalchemy import Connection, Row, select, update

from core.crypto.keys import MasterKey
from core.errors import IntegrityError
from core.records.engine import Database
from core.records.grants import Grant
from core.records.keyroll import seal_grant, write_roll
from core.records.tables import api_keys, companies, store

log = structlog.get_logger()

_MARKED = select(companies.c.id).where(companies.c.sealed_roll == b"")


def adopt_keys(database: Database, master: MasterKey) -> None:
    """Seal what an earlier version left. Raises ``Frozen``, ``Unavailable``."""
    with database.read() as connection:
        if connection.execute(_MARKED).first() is None:
            return
    with database.write() as connection:
        if connection.execute(select(store.c.master_key_id)).scalar() == master.key_id:  # else it was rotated just now
            _adopt(connection, master)


def _adopt(connection: Connection, master: MasterKey) -> None:
    """Take over the keys of each marked company; one with a key that is not authentic stays closed to all of them."""
    had_keys = connection.execute(select(api_keys.c.id)).first() is not None
    for company_id in connection.execute(_MARKED).scalars().all():
        rows = connection.execute(select(api_keys).where(api_keys.c.company_id == company_id)).all()
        try:
            grants = [(row, _earlier_grant(master, row)) for row in rows]
        except IntegrityError as error:
            log.error("api_keys_refused", company=company_id, code=error.reason, meaning=error.message)
            continue
        for row, grant in grants:
            sealed = seal_grant(master, row.id, row.secret_hash, grant)
            values = {"sealed_grant": sealed, "expires_at": None, "revoked_at": None}
            connection.execute(update(api_keys).where(api_keys.c.id == row.id).values(values))
        write_roll(connection, master, company_id, int(had_keys))


def _earlier_grant(master: MasterKey, row: Row[Any]) -> Grant:
    earlier = orjson.loads(master.open(row.sealed_grant, "api-key", row.id, row.secret_hash.hex()))
    if earlier["company"] != row.company_id:
        raise IntegrityError(f"the API key {row.id} lies with another company")
    return Grant(row.company_id, earlier["scopes"], earlier["patterns"], earlier["expires_at"], row.revoked_at)

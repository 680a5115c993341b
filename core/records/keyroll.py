"""The roll of a company: a sealed digest of its API keys.

    roll := sealed(epoch (u64) | SHA-256 of each key in order of id: id, secret hash, sealed grant)

Each grant is bound to its key, but an older one of the same key is authentic, too. The roll says which ones are the
present ones: a key that was put back, removed or brought along is refused, with all keys of the company. The epoch
counts the changes; that of the default company is 0 as long as the store never had a key. A company without a roll has
no keys; one whose roll is empty bytes is from an earlier version (``adoption.py``).
"""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Row, delete, select, update

from core.crypto.envelope import address
from core.crypto.keys import MasterKey
from core.errors import IntegrityError, NotFound
from core.records.grants import Grant
from core.records.tables import api_keys, companies

_EPOCH_BYTES: Final = 8


@dataclass(frozen=True)
class KeyRecord:
    """An API key as it is stored: everything but the secret."""

    id: str
    secret_hash: bytes
    grant: Grant
    created_at: int


@dataclass(frozen=True)
class Roll:
    """The keys of a company, oldest first, and how often they changed; ``None`` where nothing says so."""

    epoch: int | None
    keys: Sequence[KeyRecord]


def empty_roll(master: MasterKey, company_id: str) -> bytes:
    """Return the roll of a company that never had a key."""
    return _seal(master, company_id, 0, [])


def read_roll(connection: Connection, master: MasterKey, company_id: str) -> Roll:
    """Return the keys of a company. Raises ``IntegrityError`` unless they are the very ones of its roll."""
    sealed = connection.execute(select(companies.c.sealed_roll).where(companies.c.id == company_id)).scalar()
    rows = _rows(connection, company_id)
    if sealed is None and not rows:
        return Roll(None, [])
    opened = master.open(sealed or b"", "key-roll", company_id)
    if opened[_EPOCH_BYTES:] != _digest(rows):
        raise IntegrityError(
            f"the API keys of company {company_id} are not those that were made: a row of control.db was put back, "
            "removed or changed; restore control.db from a backup"
        )
    return Roll(int.from_bytes(opened[:_EPOCH_BYTES]), [_record(master, row) for row in rows])


@contextmanager
def changing_roll(connection: Connection, master: MasterKey, company_id: str) -> Iterator[Roll]:
    """Yield the present keys; what the block makes of their rows is the roll afterwards.

    Raises ``NotFound`` for a company without a roll, ``IntegrityError`` when the present keys are not authentic.
    """
    roll = read_roll(connection, master, company_id)
    if roll.epoch is None:
        raise NotFound("there is no such company", field="company")
    yield roll
    write_roll(connection, master, company_id, roll.epoch + 1)


def write_roll(connection: Connection, master: MasterKey, company_id: str, epoch: int) -> None:
    """Make the rows of a company, as they are, its roll."""
    sealed = _seal(master, company_id, epoch, _rows(connection, company_id))
    connection.execute(update(companies).where(companies.c.id == company_id).values(sealed_roll=sealed))


def begin_anew(connection: Connection, master: MasterKey, company_id: str) -> int:
    """Drop the API keys of a company, authentic or not; return how many. The epoch goes on where it can still be told.

    Raises ``NotFound``.
    """
    alive = companies.c.deleted_at.is_(None) & (companies.c.id == company_id)
    row = connection.execute(select(companies.c.sealed_roll).where(alive)).first()
    if row is None:
        raise NotFound("there is no such company", field="company")
    epoch = 0
    with suppress(IntegrityError):
        epoch = int.from_bytes(master.open(row.sealed_roll or b"", "key-roll", company_id)[:_EPOCH_BYTES])
    dropped = connection.execute(delete(api_keys).where(api_keys.c.company_id == company_id)).rowcount
    write_roll(connection, master, company_id, epoch + 1)
    return dropped


def seal_grant(master: MasterKey, key_id: str, secret_hash: bytes, grant: Grant) -> bytes:
    """Return a grant sealed for the key of that id and secret."""
    return master.seal(grant.to_bytes(), "key-grant", key_id, secret_hash.hex())


def _record(master: MasterKey, row: Row[Any]) -> KeyRecord:
    grant = Grant.from_bytes(master.open(row.sealed_grant, "key-grant", row.id, row.secret_hash.hex()))
    if grant.company_id != row.company_id:
        raise IntegrityError(f"the API key {row.id} lies with another company")
    return KeyRecord(row.id, row.secret_hash, grant, row.created_at)


def _rows(connection: Connection, company_id: str) -> Sequence[Row[Any]]:
    of_company = select(api_keys).where(api_keys.c.company_id == company_id)
    return connection.execute(of_company.order_by(api_keys.c.created_at, api_keys.c.id)).all()


def _seal(master: MasterKey, company_id: str, epoch: int, rows: Sequence[Row[Any]]) -> bytes:
    return master.seal(epoch.to_bytes(_EPOCH_BYTES) + _digest(rows), "key-roll", company_id)


def _digest(rows: Sequence[Row[Any]]) -> bytes:
    digest = hashlib.sha256()
    for row in sorted(rows, key=lambda row: str(row.id)):
        digest.update(address(row.id, row.secret_hash.hex(), row.sealed_grant.hex()))
    return digest.digest()

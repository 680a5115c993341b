"""API keys: made, listed, replaced and revoked. Shown once, stored as a hash, their grants sealed and enrolled.

    key := "ostraka_" id "." secret      secret: 256 random bits, base32

``credentials.py`` says who presents one.
"""

import base64
import hashlib
import math
import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from sqlalchemy import Connection, delete, insert, select, update

from core import limits
from core.crypto.keys import MasterKey
from core.errors import Conflict, IntegrityError, InvalidInput, NotFound
from core.ids import new_id
from core.records.companies import LIVE, home_of
from core.records.control import ControlStore
from core.records.grants import SCOPES, Grant
from core.records.keyroll import KeyRecord, Roll, begin_anew, changing_roll, read_roll, seal_grant, write_roll
from core.records.tables import api_keys, companies

_PREFIX: Final = "ostraka_"
_SECRET_BYTES: Final = 32


def create_key(
    control: ControlStore,
    company_id: str,
    scopes: Sequence[str],
    patterns: Sequence[str],
    expires_at: int | None,
    requests_per_s: float | None = None,
) -> str:
    """Create a key and return it; it cannot be shown again.

    Raises ``InvalidInput`` for unknown or no scopes, no patterns or no rate, ``Conflict`` when the company has too many
    keys, ``NotFound``, ``IntegrityError``.
    """
    grant = Grant(company_id, sorted(set(scopes)), list(patterns), expires_at, None, requests_per_s)
    _check(grant)
    with control.writing() as (connection, master), changing_roll(connection, master, company_id) as roll:
        return _insert(connection, master, roll, grant, control.clock())


def list_keys(control: ControlStore, company_id: str | None = None) -> list[KeyRecord]:
    """Return the keys of a company, or all, oldest first. Raises ``IntegrityError`` when a record was changed."""
    with control.reading() as (connection, master):
        wanted = [company_id] if company_id else connection.execute(select(companies.c.id).where(LIVE)).scalars().all()
        keys = [key for each in wanted for key in read_roll(connection, master, each).keys]
    return sorted(keys, key=lambda key: key.created_at)


def find_key(control: ControlStore, key_id: str) -> KeyRecord:
    """Return the key of that id. Raises ``NotFound``, ``IntegrityError``."""
    with control.reading() as (connection, master):
        return _find(read_roll(connection, master, _company_of(connection, key_id)), key_id)


def rotate_key(
    control: ControlStore, key_id: str, overlap_us: int, allowed: Callable[[Grant], None] = lambda _: None
) -> str:
    """Return a new key with the grant of another, which goes on for the overlap only.

    ``allowed`` may refuse the grant. Raises ``NotFound``, ``Conflict`` when the key has ended, ``IntegrityError``.
    """
    now = control.clock()
    with control.writing() as (connection, master):
        company_id = _company_of(connection, key_id)
        with changing_roll(connection, master, company_id) as roll:
            old = _find(roll, key_id)
            if not old.grant.holds(now):
                raise Conflict("the key has expired or was revoked; create another", field="key_id")
            allowed(old.grant)
            ends = [end for end in (now + overlap_us, old.grant.expires_at) if end is not None]
            _reseal(connection, master, old, replace(old.grant, expires_at=min(ends)))
            key = _insert(connection, master, roll, old.grant, now)
    return key


def revoke_key(control: ControlStore, key_id: str) -> None:
    """Revoke a key. Raises ``NotFound`` when there is none, or it is revoked already, ``IntegrityError``."""
    with control.writing() as (connection, master):
        company_id = _company_of(connection, key_id)
        with changing_roll(connection, master, company_id) as roll:
            key = _find(roll, key_id)
            if key.grant.revoked_at is not None:
                raise _missing()
            _reseal(connection, master, key, replace(key.grant, revoked_at=control.clock()))


def reset_keys(control: ControlStore, company_id: str) -> int:
    """Drop every API key of a company, also where they are not those that were made; return how many.

    It has a roll again afterwards, and is not taken for one that never had a key. Raises ``NotFound``.
    """
    with control.writing() as (connection, master):
        return begin_anew(connection, master, company_id)


def has_keys(control: ControlStore) -> bool:
    """Say whether the store ever had a key; then nobody comes in without one, on loopback either.

    Only the authentic roll of the default company can deny it.
    """
    with control.reading() as (connection, master):
        try:
            home = home_of(connection, master)
            return home is None or read_roll(connection, master, home).epoch != 0
        except IntegrityError:
            return True


def has_usable_key(control: ControlStore) -> bool:
    """Say whether anybody has a key that lets them in now. Raises ``IntegrityError``."""
    now = control.clock()
    return any(key.grant.holds(now) for key in list_keys(control))


def split_key(key: str) -> tuple[str, str]:
    """Return the id and the secret of what may be a key; both empty where it is none."""
    if not key.startswith(_PREFIX):
        return "", ""
    key_id, _, secret = key.removeprefix(_PREFIX).partition(".")
    return key_id, secret


def hash_secret(secret: str) -> bytes:
    """Return what is stored of a secret. It is random: nothing slower is needed."""
    return hashlib.sha256(secret.encode()).digest()


def _check(grant: Grant) -> None:
    if not grant.scopes or not set(grant.scopes) <= set(SCOPES):
        raise InvalidInput(f"scope: choose from {', '.join(SCOPES)}, at least one", field="scope")
    if not 0 < len(grant.patterns) <= limits.API_KEY_PATTERNS_MAX or not all(grant.patterns):
        raise InvalidInput(
            f"namespace: give 1 to {limits.API_KEY_PATTERNS_MAX} patterns; '*' is every namespace", field="namespace"
        )
    if grant.requests_per_s is not None and not 0 < grant.requests_per_s < math.inf:
        raise InvalidInput("requests_per_s: must be more than 0; leave it out for the default", field="requests_per_s")


def _insert(connection: Connection, master: MasterKey, roll: Roll, grant: Grant, now: int) -> str:
    gone = [key.id for key in roll.keys if not key.grant.holds(now - limits.API_KEY_ENDED_S * 1_000_000)]
    connection.execute(delete(api_keys).where(api_keys.c.id.in_(gone)))
    if len(roll.keys) - len(gone) >= limits.API_KEYS_MAX:
        raise Conflict(f"the company has {limits.API_KEYS_MAX} keys; revoke some, and wait a month", field="company")
    key_id = new_id("key")
    secret = base64.b32encode(secrets.token_bytes(_SECRET_BYTES)).decode().rstrip("=").lower()
    secret_hash = hash_secret(secret)
    connection.execute(
        insert(api_keys).values(
            id=key_id,
            company_id=grant.company_id,
            secret_hash=secret_hash,
            sealed_grant=seal_grant(master, key_id, secret_hash, grant),
            created_at=now,
        )
    )
    _end_keylessness(connection, master, grant.company_id)
    return f"{_PREFIX}{key_id}.{secret}"


def _end_keylessness(connection: Connection, master: MasterKey, company_id: str) -> None:
    """Let the default company's epoch say that the store has had a key, where its own first key does not."""
    home = home_of(connection, master)
    if home not in {None, company_id} and read_roll(connection, master, home).epoch == 0:
        write_roll(connection, master, home, 1)


def _reseal(connection: Connection, master: MasterKey, key: KeyRecord, grant: Grant) -> None:
    sealed = seal_grant(master, key.id, key.secret_hash, grant)
    connection.execute(update(api_keys).where(api_keys.c.id == key.id).values(sealed_grant=sealed))


def _company_of(connection: Connection, key_id: str) -> str:
    found: str | None = connection.execute(select(api_keys.c.company_id).where(api_keys.c.id == key_id)).scalar()
    if found is None:
        raise _missing()
    return found


def _find(roll: Roll, key_id: str) -> KeyRecord:
    return next(key for key in roll.keys if key.id == key_id)


def _missing() -> NotFound:
    return NotFound("there is no such key, or it is revoked already", field="key_id")

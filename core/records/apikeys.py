"""API keys: shown once, stored as a hash, bound to a company, scopes and namespace patterns.

    key := "ostraka_" id "." secret      secret: 256 random bits, base32

A key is found by its public id and compared by its hash in constant time. A stolen store holds no usable key.
"""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Final

import orjson
from sqlalchemy import Row, func, insert, or_, select, update

from core.crypto.keys import MasterKey
from core.errors import Forbidden, InvalidInput, NotFound, Unauthenticated
from core.ids import new_id
from core.records.control import ControlStore
from core.records.tables import api_keys
from core.records.terms import Terms

SCOPES: Final = ("read", "write", "admin")
EVERY_NAMESPACE: Final = "*"
_PREFIX: Final = "ostraka_"
_SECRET_BYTES: Final = 32


@dataclass(frozen=True)
class Principal:
    """Who is calling and what they may do. Without a key: the one developer of a loopback server."""

    company_id: str
    key_id: str | None
    scopes: frozenset[str]
    patterns: tuple[str, ...]
    terms: Terms  # its company's

    def require(self, scope: str) -> None:
        """Raise ``Forbidden`` unless the credential carries the scope."""
        if scope not in self.scopes:
            raise Forbidden(f"this key lacks the scope {scope!r}; use a key that has it", code="scope_missing")

    def require_namespace(self, name: str) -> None:
        """Raise ``Forbidden`` unless one of the credential's patterns covers the namespace."""
        if not self.covers(name):
            raise Forbidden("this key does not cover that namespace", code="namespace_forbidden", field="namespace")

    @property
    def covers_all(self) -> bool:
        """Whether the credential covers every namespace, those to come included."""
        return EVERY_NAMESPACE in self.patterns

    def covers(self, name: str) -> bool:
        """Say whether one of the credential's patterns covers the namespace."""
        return any(fnmatchcase(name, pattern) for pattern in self.patterns)


@dataclass(frozen=True)
class KeyRecord:
    """An API key as it is listed: everything but the secret."""

    id: str
    company_id: str
    scopes: Sequence[str]
    patterns: Sequence[str]
    created_at: int
    expires_at: int | None
    revoked_at: int | None


def create_key(
    control: ControlStore, company_id: str, scopes: Sequence[str], patterns: Sequence[str], expires_at: int | None
) -> str:
    """Create a key and return it; it cannot be shown again. Raises ``InvalidInput`` for unknown or no scopes."""
    unknown = set(scopes) - set(SCOPES)
    if unknown or not scopes:
        raise InvalidInput(f"scope: choose from {', '.join(SCOPES)}, at least one", field="scope")
    key_id = new_id("key")
    secret = base64.b32encode(secrets.token_bytes(_SECRET_BYTES)).decode().rstrip("=").lower()
    grant = {"company": company_id, "scopes": sorted(set(scopes)), "patterns": list(patterns), "expires_at": expires_at}
    with control.writing() as (connection, master):
        connection.execute(
            insert(api_keys).values(
                id=key_id,
                company_id=company_id,
                secret_hash=_hash(secret),
                sealed_grant=master.seal(orjson.dumps(grant), "api-key", key_id, _hash(secret).hex()),
                created_at=control.clock(),
                expires_at=expires_at,
            )
        )
    return f"{_PREFIX}{key_id}.{secret}"


def authenticate(control: ControlStore, key: str) -> Principal:
    """Return who a key belongs to, as its sealed grant says: what lies beside it in the clear grants nothing.

    Raises ``Unauthenticated`` for a key that is unknown, expired or revoked, ``IntegrityError`` for one whose record
    was changed.
    """
    key_id, _, secret = key.removeprefix(_PREFIX).partition(".")
    with control.reading() as (connection, master):
        row = connection.execute(select(api_keys).where(api_keys.c.id == key_id)).first()
    expected = row.secret_hash if row else bytes(32)
    same = hmac.compare_digest(_hash(secret), expected)
    if row is None or not same or not key.startswith(_PREFIX):
        raise Unauthenticated("the API key is not valid; check it, or ask the operator for another")
    grant = _grant(master, row)
    expired = grant["expires_at"] is not None and grant["expires_at"] <= control.clock()
    if row.revoked_at is not None or expired:
        raise Unauthenticated("the API key has expired or was revoked; ask the operator for another")
    terms = control.terms(grant["company"], age_s_max=0.0)
    return Principal(grant["company"], row.id, frozenset(grant["scopes"]), tuple(grant["patterns"]), terms)


def list_keys(control: ControlStore) -> list[KeyRecord]:
    """Return all keys, oldest first. Raises ``IntegrityError`` when a record was changed."""
    with control.reading() as (connection, master):
        rows = connection.execute(select(api_keys).order_by(api_keys.c.created_at)).all()
    return [_record(row, _grant(master, row)) for row in rows]


def _record(row: Row[Any], grant: dict[str, Any]) -> KeyRecord:
    return KeyRecord(
        row.id,
        grant["company"],
        grant["scopes"],
        grant["patterns"],
        row.created_at,
        grant["expires_at"],
        row.revoked_at,
    )


def _grant(master: MasterKey, row: Row[Any]) -> dict[str, Any]:
    sealed = master.open(row.sealed_grant, "api-key", row.id, row.secret_hash.hex())
    grant: dict[str, Any] = orjson.loads(sealed)
    return grant


def revoke_key(control: ControlStore, key_id: str) -> None:
    """Revoke a key. Raises ``NotFound``."""
    with control.database.write() as connection:
        changed = connection.execute(
            update(api_keys)
            .where(api_keys.c.id == key_id, api_keys.c.revoked_at.is_(None))
            .values(revoked_at=control.clock())
        ).rowcount
    if not changed:
        raise NotFound("there is no such key, or it is revoked already", field="key_id")


def has_keys(control: ControlStore) -> bool:
    """Say whether any key can still be used; then anonymous access is over, on loopback too."""
    now = control.clock()
    usable = or_(api_keys.c.expires_at.is_(None), api_keys.c.expires_at > now)
    with control.database.read() as connection:
        count = connection.execute(
            select(func.count()).select_from(api_keys).where(api_keys.c.revoked_at.is_(None), usable)
        ).scalar_one()
    return int(count) > 0


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()

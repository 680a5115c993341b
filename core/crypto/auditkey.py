"""The audit log's key: seals its entries and links each to the one before, so that none can be changed or taken out.

It is random and wrapped by the master key, so that rotating that re-wraps 32 bytes and leaves the chain as it is.
"""

import hmac
import secrets
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

from core.crypto.envelope import Sealer, address, derive
from core.crypto.keys import MasterKey, of_length

LINK_BYTES: Final = 32
_SECRET_BYTES: Final = 32
_VERSION: Final = 1


@dataclass(frozen=True, repr=False)
class AuditKey:
    """Seals entries and marks of the audit log, and makes the links of its chain."""

    secret: bytes
    _sealer: Sealer = field(init=False)
    _chain: bytes = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_sealer", Sealer(derive(self.secret, "ostraka/audit/entries/v1"), _VERSION))
        object.__setattr__(self, "_chain", derive(self.secret, "ostraka/audit/chain/v1"))

    def seal(self, plaintext: bytes, *where: str | int) -> bytes:
        """Seal an entry or a mark at its address."""
        return self._sealer.seal(plaintext, address("audit", *where))

    def open(self, envelope: bytes, *where: str | int) -> bytes:
        """Open what :meth:`seal` sealed. Raises ``IntegrityError``."""
        return self._sealer.open(envelope, address("audit", *where))

    def link(self, before: bytes, seq: int, sealed: bytes) -> bytes:
        """Return the link of an entry behind the link ``before``."""
        return hmac.digest(self._chain, before + seq.to_bytes(8) + sealed, sha256)


def new_audit_secret() -> bytes:
    """Return the secret of a new audit log: 32 bytes from the operating system."""
    return secrets.token_bytes(_SECRET_BYTES)


def wrap_audit_key(master: MasterKey, store: str, secret: bytes) -> bytes:
    """Return an audit log's secret wrapped by the master key."""
    return master.seal(secret, "audit-key", store)


def unwrap_audit_key(master: MasterKey, store: str, wrapped: bytes) -> AuditKey:
    """Return the audit log's key. Raises ``IntegrityError`` when the master key is another or the bytes changed."""
    return AuditKey(of_length(master.open(wrapped, "audit-key", store), _SECRET_BYTES))

"""The key tree: the master key wraps company keys, which wrap namespace keys.

A company or namespace secret is 64 random bytes: a data key, from which one subkey per purpose is derived, and a
handle key, which never rotates, because the HMAC handles of names must stay findable. Wrapping is sealing under
the parent, at the address of the child, so a wrapped key moved elsewhere does not open.
"""

import hmac
import secrets
from dataclasses import dataclass, field
from hashlib import sha256

from core.crypto.envelope import Sealer, address, derive
from core.errors import IntegrityError, WrongKey

MASTER_KEY_BYTES = 32
_DATA_KEY_BYTES = 32
_SECRET_BYTES = 64


@dataclass(frozen=True, repr=False)
class MasterKey:
    """The operator's key (32 bytes). Wraps company keys and seals the control store's own values."""

    secret: bytes
    _sealer: Sealer = field(init=False)

    def __post_init__(self) -> None:
        if len(self.secret) != MASTER_KEY_BYTES:  # a plugin's mistake, and a weak key
            raise ValueError("a master key is 32 bytes")
        object.__setattr__(self, "_sealer", Sealer(derive(self.secret, "ostraka/master/wrap/v1"), 1))

    @property
    def key_id(self) -> str:
        """A short public name of this key, so that data can say which one it needs."""
        return derive(self.secret, "ostraka/master/id/v1")[:8].hex()

    def handle(self, kind: str, value: str) -> bytes:
        """Return the HMAC under which a control-store name is looked up."""
        return _handle(derive(self.secret, "ostraka/master/handle/v1"), kind, value)

    def seal(self, plaintext: bytes, *where: str | int) -> bytes:
        """Seal a control-store value at its address."""
        return self._sealer.seal(plaintext, address("control", *where))

    def open(self, envelope: bytes, *where: str | int) -> bytes:
        """Open what :meth:`seal` sealed. Raises ``IntegrityError`` when it was changed or the key is another."""
        return self._sealer.open(envelope, address("control", *where))


@dataclass(frozen=True, repr=False)
class CompanyKey:
    """One version of a company's key: wraps its namespaces' keys and seals the names it owns."""

    company: str
    version: int
    secret: bytes
    _sealer: Sealer = field(init=False)

    def __post_init__(self) -> None:
        key = derive(self.secret[:_DATA_KEY_BYTES], "ostraka/company/wrap/v1")
        object.__setattr__(self, "_sealer", Sealer(key, self.version))

    def handle(self, kind: str, value: str) -> bytes:
        """Return the HMAC under which one of the company's names is looked up."""
        return _handle(self.secret[_DATA_KEY_BYTES:], kind, value)

    def seal(self, plaintext: bytes, *where: str | int) -> bytes:
        """Seal a company-level value at its address."""
        return self._sealer.seal(plaintext, address("company", self.company, *where))

    def open(self, envelope: bytes, *where: str | int) -> bytes:
        """Open what :meth:`seal` sealed. Raises ``IntegrityError``."""
        return self._sealer.open(envelope, address("company", self.company, *where))


@dataclass(frozen=True, repr=False)
class NamespaceKey:
    """One version of a namespace's key: seals its rows, keys its files, makes its handles."""

    company: str
    namespace: str
    version: int
    secret: bytes
    _rows: Sealer = field(init=False)
    _where: bytes = field(init=False)
    file_key: bytes = field(init=False)

    def __post_init__(self) -> None:
        data_key = self.secret[:_DATA_KEY_BYTES]
        object.__setattr__(self, "_rows", Sealer(derive(data_key, "ostraka/namespace/rows/v1"), self.version))
        object.__setattr__(self, "_where", address("row", self.company, self.namespace))
        object.__setattr__(self, "file_key", derive(data_key, "ostraka/namespace/files/v1"))

    def handle(self, kind: str, value: str) -> bytes:
        """Return the HMAC under which a memory id, session or idempotency key is looked up."""
        return _handle(self.secret[_DATA_KEY_BYTES:], kind, value)

    def of_version(self, version: int) -> "NamespaceKey":
        """Return this key, as a keyring of one. Raises ``WrongKey`` when it has another version."""
        if version != self.version:
            raise WrongKey("a sealed value names another version of its key")
        return self

    def seal_row(self, plaintext: bytes, table: str, row: int, column: str) -> bytes:
        """Seal a column of a row."""
        return self._rows.seal(plaintext, self._where + address(table, row, column))

    def open_row(self, envelope: bytes, table: str, row: int, column: str) -> bytes:
        """Open a column of a row. Raises ``IntegrityError`` when it was changed or belongs elsewhere."""
        return self._rows.open(envelope, self._where + address(table, row, column))


def new_secret() -> bytes:
    """Return the secret of a new company or namespace: 64 bytes from the operating system."""
    return secrets.token_bytes(_SECRET_BYTES)


def next_secret(secret: bytes) -> bytes:
    """Return the secret of a key's next version: a new data key, and the handle key that never changes."""
    return secrets.token_bytes(_DATA_KEY_BYTES) + secret[_DATA_KEY_BYTES:]


def wrap_company_key(master: MasterKey, company: str, version: int, secret: bytes) -> bytes:
    """Return a company's secret wrapped by the master key."""
    return master.seal(secret, "company-key", company, version)


def unwrap_company_key(master: MasterKey, company: str, version: int, wrapped: bytes) -> CompanyKey:
    """Return the company key. Raises ``IntegrityError`` when the master key is another or the bytes changed."""
    return CompanyKey(company, version, of_length(master.open(wrapped, "company-key", company, version), _SECRET_BYTES))


def wrap_namespace_key(company: CompanyKey, namespace: str, version: int, secret: bytes) -> bytes:
    """Return a namespace's secret wrapped by its company's key."""
    return company.seal(secret, "namespace-key", namespace, version)


def unwrap_namespace_key(company: CompanyKey, namespace: str, version: int, wrapped: bytes) -> NamespaceKey:
    """Return the namespace key. Raises ``IntegrityError``."""
    secret = of_length(company.open(wrapped, "namespace-key", namespace, version), _SECRET_BYTES)
    return NamespaceKey(company.company, namespace, version, secret)


def new_file_key() -> bytes:
    """Return a key for one file: 32 bytes from the operating system."""
    return secrets.token_bytes(_DATA_KEY_BYTES)


def wrap_backup_key(master: MasterKey, backup: str, key: bytes) -> bytes:
    """Return a backup's key wrapped by the master key."""
    return master.seal(key, "backup-key", backup)


def unwrap_backup_key(master: MasterKey, backup: str, wrapped: bytes) -> bytes:
    """Return a backup's key. Raises ``IntegrityError``."""
    return of_length(master.open(wrapped, "backup-key", backup), _DATA_KEY_BYTES)


def of_length(secret: bytes, length: int) -> bytes:
    """Return an unwrapped secret of so many bytes. Raises ``IntegrityError`` for any other."""
    if len(secret) != length:
        raise IntegrityError("a wrapped key has the wrong length")
    return secret


def _handle(key: bytes, kind: str, value: str) -> bytes:
    return hmac.digest(key, address(kind, value), sha256)

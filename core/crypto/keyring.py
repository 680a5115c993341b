"""Keyrings: every version of a company's or namespace's key that there is. The newest seals, each opens what it sealed.

An envelope names its version. One that this process has not seen makes it load the ring once more: another process
may have rotated the key. A load that fails says so of the key (``KeyUnusable``), never of the value that was to be
opened: nobody may take a good row for a broken one because a key was away.
"""

from collections.abc import Callable, Mapping
from hmac import compare_digest
from typing import Generic, TypeVar

from core.crypto.envelope import key_version_of
from core.crypto.keys import CompanyKey, NamespaceKey
from core.errors import IntegrityError, KeyUnusable, WrongKey

Key = TypeVar("Key", bound=CompanyKey | NamespaceKey)


class Keyring(Generic[Key]):
    """The versions of one key. Safe to share between threads.

    A version that was erased from the store stays in memory: a long read may still see rows of before.
    """

    def __init__(self, versions: Mapping[int, Key], load: Callable[[], Mapping[int, Key]]) -> None:
        """Begin with ``versions``; ``load()`` returns all that there are later. Raises ``IntegrityError`` for none."""
        self._load = load
        self._versions = _checked(versions)

    @property
    def newest(self) -> Key:
        """The version that seals."""
        return self._versions[max(self._versions)]

    @property
    def version(self) -> int:
        """The number of the version that seals."""
        return max(self._versions)

    def refresh(self) -> None:
        """Load the ring once more. Raises ``KeyUnusable`` when a version does not open, and what ``load`` raises."""
        try:
            loaded = self._load()
            self._versions = _checked({**self._versions, **loaded})
        except IntegrityError as error:
            raise KeyUnusable(f"a key cannot be used: {error.message}") from None

    def at_least(self, version: int) -> None:
        """See that the version which seals is not older than ``version``. Raises as :meth:`refresh` does."""
        if self.version < version:
            self.refresh()
        if self.version < version:
            raise KeyUnusable(f"version {version} of a key is missing")

    def of_version(self, version: int) -> Key:
        """Return a version. Raises ``WrongKey`` when there is none of that number, and as :meth:`refresh` does."""
        if version not in self._versions:
            self.refresh()
        key = self._versions.get(version)
        if key is None:
            raise WrongKey("a sealed value names a version of its key that does not exist")
        return key


class CompanyKeys(Keyring[CompanyKey]):
    """A company's keyring, used as one key."""

    @property
    def company(self) -> str:
        """The company's opaque id."""
        return self.newest.company

    def handle(self, kind: str, value: str) -> bytes:
        """Return the HMAC under which one of the company's names is looked up; always the same."""
        return self.newest.handle(kind, value)

    def seal(self, plaintext: bytes, *where: str | int) -> bytes:
        """Seal a company-level value at its address."""
        return self.newest.seal(plaintext, *where)

    def open(self, envelope: bytes, *where: str | int) -> bytes:
        """Open what :meth:`seal` sealed. Raises ``IntegrityError``, ``KeyUnusable``, ``Unavailable``."""
        return self.of_version(key_version_of(envelope)).open(envelope, *where)


class NamespaceKeys(Keyring[NamespaceKey]):
    """A namespace's keyring, used as one key."""

    @property
    def company(self) -> str:
        """The company's opaque id."""
        return self.newest.company

    @property
    def namespace(self) -> str:
        """The namespace's opaque id."""
        return self.newest.namespace

    def handle(self, kind: str, value: str) -> bytes:
        """Return the HMAC under which a memory id, session or idempotency key is looked up; always the same."""
        return self.newest.handle(kind, value)

    def seal_row(self, plaintext: bytes, table: str, row: int, column: str) -> bytes:
        """Seal a column of a row."""
        return self.newest.seal_row(plaintext, table, row, column)

    def open_row(self, envelope: bytes, table: str, row: int, column: str) -> bytes:
        """Open a column of a row. Raises ``IntegrityError``, ``KeyUnusable``, ``Unavailable``."""
        return self.of_version(key_version_of(envelope)).open_row(envelope, table, row, column)


def _checked(versions: Mapping[int, Key]) -> Mapping[int, Key]:
    """Return a ring's versions, if there are any and all make the same handles."""
    if not versions:
        raise IntegrityError("a key is missing")
    first, *others = (key.handle("", "") for key in versions.values())
    if not all(compare_digest(first, other) for other in others):
        raise IntegrityError("two versions of a key have another handle key")
    return versions

"""What an API key grants, who holds it, and what of it may be handed on to another key."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from typing import Final

import orjson

from core.errors import Forbidden

SCOPES: Final = ("read", "write", "admin")
EVERY_NAMESPACE: Final = "*"


@dataclass(frozen=True)
class Grant:
    """What a key may do, until when and how often. Nothing beside it counts: it is sealed as a whole."""

    company_id: str
    scopes: Sequence[str]
    patterns: Sequence[str]
    expires_at: int | None = None
    revoked_at: int | None = None
    requests_per_s: float | None = None

    def to_bytes(self) -> bytes:
        """Return what is sealed."""
        return orjson.dumps(asdict(self))

    @classmethod
    def from_bytes(cls, opened: bytes) -> "Grant":
        """Return the grant of :meth:`to_bytes`."""
        return cls(**orjson.loads(opened))

    @property
    def ended_at(self) -> int | None:
        """When it ends or ended, by its time or by revocation; ``None``: never."""
        ends = [end for end in (self.expires_at, self.revoked_at) if end is not None]
        return min(ends, default=None)

    def holds(self, now: int) -> bool:
        """Say whether it can be used at that time."""
        return self.ended_at is None or self.ended_at > now


@dataclass(frozen=True)
class Principal:
    """Who is calling and what they may do. Without a key: the one developer of a loopback server."""

    company_id: str
    key_id: str | None
    scopes: frozenset[str]
    patterns: tuple[str, ...]
    expires_at: int | None = None
    requests_per_s: float | None = None

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

    def oversees(self, grant: Grant) -> bool:
        """Say whether a key of the credential's company reaches no namespace that the credential does not cover.

        Only where that is plain: the same pattern is held, or every namespace is.
        """
        return grant.company_id == self.company_id and (self.covers_all or set(grant.patterns) <= set(self.patterns))


def require_within(minter: Principal, grant: Grant, default_requests_per_s: float | None) -> None:
    """Raise ``Forbidden`` (``exceeds_key``) where a grant is more than its minter holds.

    A key without a rate of its own has the server's default.
    """
    if grant.company_id != minter.company_id:
        raise _exceeding("company")
    if not set(grant.scopes) <= minter.scopes:
        raise _exceeding("scopes")
    if not minter.oversees(grant):
        raise _exceeding("namespaces")
    if minter.expires_at is not None and (grant.expires_at is None or grant.expires_at > minter.expires_at):
        raise _exceeding("expires_in_s")
    if _rate(grant.requests_per_s, default_requests_per_s) > _rate(minter.requests_per_s, default_requests_per_s):
        raise _exceeding("requests_per_s")


def _rate(own: float | None, default: float | None) -> float:
    given = default if own is None else own
    return math.inf if given is None else given


def _exceeding(field: str) -> Forbidden:
    return Forbidden(f"{field}: a key hands on no more than it holds; ask for less", code="exceeds_key", field=field)

"""Who may do what: the one place where a credential becomes access to a company's data."""

import asyncio
import hashlib
import time
from dataclasses import dataclass
from typing import Final

from anyio import to_thread
from fastapi import Request

from core.errors import Forbidden, Unauthenticated
from core.records.apikeys import SCOPES, Principal, authenticate, has_keys
from core.records.companies import DEFAULT_COMPANY
from core.records.company import Namespace
from core.records.control import ControlStore
from core.runtime import Runtime, Tenant

_TRUST_S: Final = 1.0  # a revoked key stops working within this time in every process


@dataclass(frozen=True)
class Access:
    """A caller's access: the company's parts, and the credential that bounds them."""

    principal: Principal
    tenant: Tenant

    def read(self, name: str) -> Namespace:
        """Return a namespace to read. Raises ``Forbidden``, ``NotFound``."""
        return self._namespace("read", name)

    def write(self, name: str) -> Namespace:
        """Return an existing namespace to write. Raises ``Forbidden``, ``NotFound``."""
        return self._namespace("write", name)

    async def write_or_create(self, name: str) -> Namespace:
        """Return a namespace to write, made on the first write. Raises ``Forbidden``."""
        self.principal.require("write")
        self.principal.require_namespace(name)
        records = self.tenant.records
        known = records.known(name)
        return known if known is not None else await to_thread.run_sync(records.ensure_namespace, name)

    def listed(self, name: str | None = None) -> list[int] | None:
        """Return the row ids of the namespaces to list from: the one named, else those covered; ``None`` is all.

        What is listed is chosen before it is cut into pages, so that a page tells nothing of the others. Raises
        ``Forbidden``, ``NotFound``.
        """
        if name is not None:
            return [self.read(name).id]
        self.principal.require("read")
        if self.principal.covers_all:
            return None
        return [each.id for each in self.tenant.records.namespaces() if self.principal.covers(each.name)]

    def _namespace(self, scope: str, name: str) -> Namespace:
        self.principal.require(scope)
        self.principal.require_namespace(name)
        return self.tenant.records.namespace(name)


class Gatekeeper:
    """Authenticates requests; answers are trusted for a second."""

    def __init__(self, runtime: Runtime, *, anonymous_allowed: bool) -> None:
        """``anonymous_allowed``: the server listens on loopback only and the settings do not forbid it."""
        self._runtime = runtime
        self._anonymous_allowed = anonymous_allowed
        self._known: dict[bytes, tuple[float, Principal]] = {}
        self._anonymous: tuple[float, Principal | None] = (0.0, None)
        self._asking = asyncio.Lock()  # when trust runs out, one request asks the store and the others wait for it

    async def __call__(self, request: Request) -> Access:
        """Return the caller's access. Raises ``Unauthenticated``, ``Forbidden`` while the company is suspended."""
        key = _presented_key(request)
        principal = await (self._anonymously() if key is None else self._by_key(key))
        if principal.terms.suspended:
            raise Forbidden("this company is suspended; ask the operator to resume it", code="company_suspended")
        return Access(principal, self._runtime.tenant(principal.company_id))

    async def _by_key(self, key: str) -> Principal:
        digest = hashlib.sha256(key.encode()).digest()
        if known := self._trusted(digest):
            return known
        async with self._asking:
            if known := self._trusted(digest):
                return known
            asked = time.monotonic()
            principal = await to_thread.run_sync(authenticate, self._runtime.control, key)
            self._known = {each: entry for each, entry in self._known.items() if entry[0] > asked}
            self._known[digest] = (asked + _TRUST_S, principal)
            return principal

    def _trusted(self, digest: bytes) -> Principal | None:
        until, principal = self._known.get(digest, (0.0, None))
        return principal if until > time.monotonic() else None

    async def _anonymously(self) -> Principal:
        if self._anonymous_allowed and self._anonymous[0] <= time.monotonic():
            async with self._asking:
                if self._anonymous[0] <= time.monotonic():
                    asked = time.monotonic()
                    principal = await to_thread.run_sync(_developer, self._runtime.control)
                    self._anonymous = (asked + _TRUST_S, principal)
        principal = self._anonymous[1]
        if principal is None:
            raise Unauthenticated("send an API key as `Authorization: Bearer …` or `x-api-key`")
        return principal


def _developer(control: ControlStore) -> Principal | None:
    """Return the principal of a server without keys: everything, in the default company."""
    if has_keys(control):
        return None
    company = control.find_company(DEFAULT_COMPANY)
    return Principal(company.id, None, frozenset(SCOPES), ("*",), company.terms)


def _presented_key(request: Request) -> str | None:
    scheme, _, credential = request.headers.get("authorization", "").partition(" ")
    if scheme:
        if scheme.lower() != "bearer" or not credential:
            raise Unauthenticated("the Authorization header must read `Bearer <key>`")
        return credential.strip()
    return request.headers.get("x-api-key")

"""The guard: who calls, whether they may, how often. It is asked once for each request, before the body is read.

A key is checked against the keys in memory, which takes microseconds and no thread: however many wrong ones arrive, a
good one does not queue behind them. For the same reason a good key is let in from an address whose wrong ones are
refused by now; others share that address, and 256 random bits are not found by trying.
"""

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Final

import structlog
from anyio import CapacityLimiter, to_thread
from fastapi import Request

from api.access import Access
from api.addresses import address_block, client_address, is_loopback
from api.auditing import Trail
from api.permissions import Permission
from api.rates import RateLimited, Rates, Verdict
from api.tenants import Tenants
from core import limits
from core.errors import Busy, Forbidden, OstrakaError, Unauthenticated
from core.records.credentials import Credentials, read_credentials
from core.records.grants import Principal
from core.records.terms import Terms
from core.runtime import Runtime

log = structlog.get_logger()

_TRUST_S: Final = 1.0  # a revoked key stops working within this time in every process
_PACE_S: Final = 0.05  # a key made just now is looked for, but not at each request that brings an unknown one
_CREDENTIAL_HEADERS: Final = (b"authorization", b"x-api-key")


@dataclass(frozen=True)
class Refusal:
    """A call that was turned away: why, whose key it named, where it came from and went. Nothing that it brought."""

    code: str
    key_id: str | None
    address: str
    method: str
    path: str


@dataclass(frozen=True)
class Admitted:
    """A call that may go on; where its rate is bounded, what is left of it."""

    access: Access
    rate: Verdict | None


def log_refusal(refusal: Refusal) -> None:
    """Say in the log that a call was turned away."""
    log.warning("request_refused", **asdict(refusal))


class Guard:
    """Admits requests, or says why not."""

    def __init__(
        self, runtime: Runtime, *, anonymous_allowed: bool, on_refusal: Callable[[Refusal], None] = log_refusal
    ) -> None:
        """``anonymous_allowed``: the server listens on loopback only and the settings do not forbid it."""
        self._runtime = runtime
        self._settings = runtime.settings.auth
        self._anonymous_allowed = anonymous_allowed
        self._on_refusal = on_refusal
        self._tenants = Tenants(runtime)
        self._credentials: Credentials | None = None
        self._read_at = -math.inf
        self._reading: asyncio.Task[None] | None = None
        self._reader = CapacityLimiter(1)
        self._failures = Rates(limits.ADDRESSES_MAX)
        self._rates = Rates(limits.ADDRESSES_MAX)

    async def admit(self, request: Request, permission: Permission, trail: Trail) -> Admitted:
        """Return the caller's access, and name the caller in the trail.

        Raises ``Unauthenticated``, ``Forbidden``, ``Busy``; ``IntegrityError``.
        """
        credentials = await self._keys_since(time.monotonic() - _TRUST_S)
        principal = await self._identify(request, credentials, trail)
        trail.name(principal)
        operates = principal.company_id == credentials.home and principal.covers_all and "admin" in principal.scopes
        terms = credentials.companies[principal.company_id].terms
        try:
            _require_active(terms)
            _require(permission, principal, operates=operates)
        except Forbidden as error:
            if self._within_failures(principal.key_id or "").allowed:  # one key does not fill the log
                self._report(request, error, principal.key_id)
            raise
        rate = self._rate(principal, terms)
        tenant = await self._tenants.find(principal.company_id)
        return Admitted(Access(principal, tenant, operates, trail), rate)

    async def _identify(self, request: Request, credentials: Credentials, trail: Trail) -> Principal:
        found = [(name, value) for name, value in request.scope["headers"] if name in _CREDENTIAL_HEADERS]
        if not found:
            return self._anonymous(request, credentials)
        named = None
        try:
            key = presented_key(found)
            if credentials.miss(key):
                credentials = await self._keys_since(time.monotonic())
            named = trail.target = credentials.named_by(key)
            principal = credentials.authenticate(key, self._runtime.control.clock())
        except Unauthenticated as error:
            self._count_failure(request, error, named)
            raise
        trail.target = None  # it is who asks
        return principal

    def _anonymous(self, request: Request, credentials: Credentials) -> Principal:
        principal = credentials.developer if self._anonymous_allowed else None
        if principal is None or not _comes_from_here(request, self._settings.cors_origins):
            raise Unauthenticated("send an API key as `Authorization: Bearer …` or `x-api-key`")
        return principal

    def _count_failure(self, request: Request, error: OstrakaError, key_id: str | None) -> None:
        """Report a wrong credential. Raises ``Busy`` (``too_many_failures``) when its address sent too many."""
        verdict = self._within_failures(address_block(client_address(request.scope)))
        if not verdict.allowed:
            raise Busy(
                "too many wrong API keys came from this address; correct the key, then try again",
                code="too_many_failures",
                retry_after_s=verdict.retry_after_s,
            ) from None
        self._report(request, error, key_id)

    def _within_failures(self, name: str) -> Verdict:
        a_minute = self._settings.failures_per_minute
        return self._failures.take(name, a_minute / 60, a_minute)

    def _report(self, request: Request, error: OstrakaError, key_id: str | None) -> None:
        template: str = request.scope["route"].path_format
        address = client_address(request.scope)
        self._on_refusal(Refusal(error.reason, key_id, address, request.method, template))

    def _rate(self, principal: Principal, terms: Terms) -> Verdict | None:
        """Count the call and return the narrower bound. Raises ``RateLimited`` when the key or its company is at it."""
        key_per_s = None if principal.key_id is None else principal.requests_per_s or self._settings.requests_per_s
        narrower = None
        for name, per_s in ((principal.key_id, key_per_s), (principal.company_id, terms.requests_per_s)):
            if name is not None and per_s is not None:
                verdict = self._rates.take(name, per_s, math.ceil(per_s))
                if not verdict.allowed:
                    raise RateLimited(verdict)
                narrower = verdict if narrower is None or verdict.remaining < narrower.remaining else narrower
        return narrower

    async def _keys_since(self, moment: float) -> Credentials:
        """Return the keys as they were read at that time or later. Raises ``Unavailable``."""
        while self._credentials is None or self._read_at < moment:
            if self._reading is None or self._reading.done():
                self._reading = asyncio.create_task(self._read())
            await asyncio.shield(self._reading)  # everybody waits for the same reading, and for its failure
        return self._credentials

    async def _read(self) -> None:
        await asyncio.sleep(self._read_at + _PACE_S - time.monotonic())
        asked = time.monotonic()
        control = self._runtime.control
        self._credentials = await to_thread.run_sync(read_credentials, control, self._credentials, limiter=self._reader)
        self._read_at = asked


def presented_key(headers: Sequence[tuple[bytes, bytes]]) -> str:
    """Return the API key in a request's credentials. Raises ``Unauthenticated`` for what is no key, or several."""
    if len(headers) > 1:
        raise Unauthenticated("send one API key, in one header")
    name, value = headers[0]
    text = value.decode("latin-1")
    if name == b"x-api-key":
        return text
    scheme, _, key = text.partition(" ")
    if scheme.lower() != "bearer" or not key:
        raise Unauthenticated("the Authorization header must read `Bearer <key>`")
    return key.strip()


def _require_active(terms: Terms) -> None:
    if terms.suspended:
        raise Forbidden("this company is suspended; ask the operator to resume it", code="company_suspended")


def _require(permission: Permission, principal: Principal, *, operates: bool) -> None:
    for scope in sorted(permission.scopes):
        principal.require(scope)
    if permission.operator and not operates:
        raise Forbidden(
            "this concerns every company; use an admin key of the default company that covers all namespaces",
            code="operator_only",
        )


def _comes_from_here(request: Request, origins: tuple[str, ...]) -> bool:
    """Say whether a call without a key is one of this machine's programs, not a foreign page in its browser.

    A page reaches a loopback server under a name of its own that it makes point here (its ``Host``), or from an origin
    of its own (its ``Origin``). Programs send no origin.
    """
    host = request.headers.get("host", "")
    name = host.rsplit("]", 1)[0].removeprefix("[") if host.startswith("[") else host.rsplit(":", 1)[0]
    origin = request.headers.get("origin")
    return is_loopback(name) and (origin is None or origin in origins or origin == f"{request.url.scheme}://{host}")

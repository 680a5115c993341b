"""The guard over a real control store: whom it admits, whom it limits, and who waits for whom."""

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import Request

from api.guard import Guard, Refusal
from api.permissions import ADMIN, OPERATOR, READ, Permission
from api.rates import RateLimited
from core.errors import Busy, Forbidden, IntegrityError, OstrakaError, Unauthenticated
from core.records.apikeys import create_key, revoke_key, split_key
from core.records.control import ControlStore
from core.records.lifecycle import change_terms
from core.settings import Auth

ROUTE = SimpleNamespace(path_format="/v1/memory")


class Gate:
    """A guard with its surroundings: no company is ever opened."""

    def __init__(self, control: ControlStore, *, anonymous: bool = True, **settings: Any) -> None:
        self.refusals: list[Refusal] = []
        runtime = SimpleNamespace(
            settings=SimpleNamespace(auth=Auth(**settings)), control=control, opened=lambda _: SimpleNamespace()
        )
        self._guard = Guard(runtime, anonymous_allowed=anonymous, on_refusal=self.refusals.append)  # type: ignore[arg-type]

    async def ask(self, key: str | None = None, permission: Permission = READ, **headers: str) -> str | None:
        """Return the id of the key that was admitted."""
        given = {"host": "127.0.0.1:3300"} | headers | ({} if key is None else {"x-api-key": key})
        raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in given.items()]
        scope = {"type": "http", "method": "GET", "scheme": "http", "path": "/v1/memory", "query_string": b""}
        request = Request(
            scope | {"headers": raw, "client": ("10.0.0.1", 1), "route": ROUTE, "server": ("127.0.0.1", 3300)}
        )
        trail = SimpleNamespace(target=None, name=lambda _: None)
        admitted = await self._guard.admit(request, permission, trail)  # type: ignore[arg-type]
        return admitted.access.principal.key_id


def run(work: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await work()

    asyncio.run(main())


async def refused(kind: type[OstrakaError], asked: Awaitable[Any]) -> str:
    with pytest.raises(kind) as caught:
        await asked
    return caught.value.reason


@pytest.fixture
def home(control: ControlStore) -> str:
    return control.find_company("default").id


def make(control: ControlStore, company: str, *scopes: str, **more: Any) -> str:
    return create_key(control, company, scopes or ["read"], ["*"], None, **more)


def test_ten_thousand_wrong_keys_do_not_queue_a_good_one(control, home, monkeypatch):
    """They wait for the next look at the keys; the good one, which is known, does not wait at all."""
    monkeypatch.setattr("api.guard._TRUST_S", 3_600.0)
    good = make(control, home)
    gate = Gate(control, failures_per_minute=1_000_000)

    async def work():
        await gate.ask(good)
        wrong = [asyncio.ensure_future(gate.ask(f"ostraka_key_{number}.x")) for number in range(10_000)]
        right = asyncio.ensure_future(gate.ask(good))
        await asyncio.wait([*wrong, right], return_when=asyncio.FIRST_COMPLETED)
        assert right.done()
        assert not any(each.done() for each in wrong)
        assert {type(each) for each in await asyncio.gather(*wrong, return_exceptions=True)} == {Unauthenticated}

    run(work)


def test_a_key_made_just_now_is_known_and_a_revoked_one_is_not_for_long(control, home):
    gate = Gate(control)

    async def work():
        first = make(control, home)
        await gate.ask(first)
        second = make(control, home)
        assert await gate.ask(second) == split_key(second)[0]
        revoke_key(control, split_key(second)[0])
        gate._guard._read_at -= 1.0  # a second later
        await refused(Unauthenticated, gate.ask(second))

    run(work)


def test_wrong_keys_of_an_address_are_limited_and_right_ones_are_let_in(control, home):
    good = make(control, home)
    gate = Gate(control, failures_per_minute=3)
    wrong = f"ostraka_{split_key(good)[0]}.wrong"

    async def work():
        for _ in range(3):
            await refused(Unauthenticated, gate.ask(wrong))
        assert await refused(Busy, gate.ask(wrong)) == "too_many_failures"
        assert await refused(Busy, gate.ask(authorization="Basic x")) == "too_many_failures"
        await refused(Unauthenticated, gate.ask())
        assert await gate.ask(good) == split_key(good)[0]

    run(work)
    assert [(each.code, each.key_id, each.path) for each in gate.refusals] == [
        ("unauthenticated", split_key(good)[0], "/v1/memory")
    ] * 3
    assert "wrong" not in str(gate.refusals)


def test_a_key_has_its_rate_else_the_servers_and_its_company_has_one(control, home):
    own, default, sister = make(control, home, requests_per_s=2.0), make(control, home), make(control, home)
    change_terms(control, home, requests_per_s=5.0)
    gate = Gate(control, requests_per_s=3.0)

    async def work():
        for key, calls in ((own, 2), (default, 3)):
            for _ in range(calls):
                await gate.ask(key)
        assert await refused(RateLimited, gate.ask(own)) == "rate_limited"
        assert await refused(RateLimited, gate.ask(sister)) == "rate_limited"  # five of its company went before

    run(work)


def test_without_keys_only_this_machine_comes_in_and_never_again_after_the_first(control, home):
    gate = Gate(control)

    async def work():
        assert await gate.ask() is None
        assert await gate.ask(host="localhost") is None
        assert await gate.ask(host="[::1]:3300") is None
        assert await gate.ask(permission=OPERATOR, origin="http://127.0.0.1:3300") is None
        for foreign in (
            {"host": "evil.example"},
            {"host": ""},
            {"origin": "null"},
            {"origin": "http://localhost:3300"},
        ):
            await refused(Unauthenticated, gate.ask(**foreign))
        revoke_key(control, split_key(make(control, home))[0])
        gate._guard._read_at -= 1.0  # a second later
        await refused(Unauthenticated, gate.ask())

    run(work)


def test_a_named_origin_may_call_without_keys_and_a_server_that_wants_keys_lets_nobody_in(control):
    async def work():
        assert await Gate(control, cors_origins=("https://app.example",)).ask(origin="https://app.example") is None
        await refused(Unauthenticated, Gate(control, anonymous=False).ask())

    run(work)


def test_scopes_suspension_and_the_operator(control, home):
    rival = control.create_company("rival").id
    reader, admin = make(control, home, "read"), make(control, rival, "admin")
    gate = Gate(control)

    async def work():
        assert await refused(Forbidden, gate.ask(reader, ADMIN)) == "scope_missing"
        assert await refused(Forbidden, gate.ask(admin, OPERATOR)) == "operator_only"
        assert await gate.ask(admin, ADMIN) == split_key(admin)[0]
        change_terms(control, rival, suspended=True)
        gate._guard._read_at -= 1.0  # a second later
        assert await refused(Forbidden, gate.ask(admin, ADMIN)) == "company_suspended"
        assert await gate.ask(reader) == split_key(reader)[0]

    run(work)


def test_a_store_that_fails_fails_everybody_who_waits(control, home, monkeypatch):
    good = make(control, home)
    gate = Gate(control)

    def broken(*_: object) -> None:
        raise IntegrityError("a page of the store is damaged")

    async def work():
        monkeypatch.setattr("api.guard.read_credentials", broken)
        answers = await asyncio.gather(*(gate.ask(good) for _ in range(100)), return_exceptions=True)
        assert {type(answer) for answer in answers} == {IntegrityError}

    run(work)

"""Companies that are opened for requests, one after another, and those that cannot be."""

import asyncio
import threading
import traceback
from types import SimpleNamespace

from api.tenants import Tenants
from core.errors import NotFound


def refuse(_: str):
    raise NotFound("there is no such company")


def test_companies_that_are_opened_at_once_hold_one_thread():
    threads = set()
    tenants = Tenants(SimpleNamespace(opened=lambda _: None, tenant=lambda _: threads.add(threading.get_ident())))

    async def ask() -> None:
        await asyncio.gather(*(tenants.find(f"co_{number}") for number in range(4)))

    asyncio.run(ask())
    assert len(threads) == 1


def test_a_remembered_refusal_does_not_grow_with_each_request():
    tenants = Tenants(SimpleNamespace(opened=lambda _: None, tenant=refuse))

    async def ask() -> list[int]:
        depths = []
        for _ in range(4):
            try:
                await tenants.find("co_1")
            except NotFound as error:
                depths.append(len(traceback.extract_tb(error.__traceback__)))
        return depths

    _, second, *later = asyncio.run(ask())
    assert later == [second, second]

"""Companies that cannot be opened: the refusal is remembered for a second, and nothing else is."""

import asyncio
import traceback
from types import SimpleNamespace

from api.tenants import Tenants
from core.errors import NotFound


def refuse(_: str):
    raise NotFound("there is no such company")


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

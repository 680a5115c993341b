"""A request's trail when the audit log cannot be written."""

import asyncio

import pytest
from fastapi import Request

from api.auditing import ACTIONS, Trail
from core.audit.auditor import Auditor


class Refusing:
    """An audit log on a disk that takes nothing."""

    def append(self, _events):
        raise OSError("no locks available")

    def newest_at(self):
        return None

    def prune(self, _keep_days, _now):
        return 0


@pytest.fixture
def auditor():
    opened = Auditor(Refusing(), lambda: 5, 400)
    yield opened
    opened.close()


def act(auditor, path: str) -> list[tuple[str, str]]:
    """Make a request; return what waits to be written then."""

    async def request() -> None:
        async with Trail(auditor, ACTIONS["POST", path], Request({"type": "http"})) as trail:
            await trail.begin()

    asyncio.run(request())
    return [(event.action, event.result) for event in (*auditor._strangers.events(), *auditor._callers.events())]


def test_a_freeze_can_be_ended_and_is_recorded_later(auditor):
    assert act(auditor, "/admin/unfreeze") == [("server.unfreeze", "begun"), ("server.unfreeze", "ok")]


def test_no_other_administrative_action_begins(auditor):
    with pytest.raises(OSError, match="no locks"):
        act(auditor, "/admin/freeze")

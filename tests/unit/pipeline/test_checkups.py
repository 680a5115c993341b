"""Checkups: shared by all who ask, made by threads that may hang alone."""

import asyncio
import threading

import pytest

from core.pipeline import checkups
from core.pipeline.checkups import Checkups, _Question


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(checkups, "_PATIENCE_S", 0.05)


def test_a_question_that_hangs_is_answered_otherwise_and_not_put_again_meanwhile(impatient):
    put, go_on = [], threading.Event()

    def hang():
        put.append(1)
        go_on.wait(30)
        return "late"

    async def ask():
        question = _Question(hang, otherwise="nothing")
        assert [await question.ask() for _ in range(3)] == ["nothing"] * 3
        assert len(put) == 1
        go_on.set()
        assert question._pending.result(timeout=30) == "late"
        assert await question.ask() == "late"
        assert len(put) == 2

    asyncio.run(ask())


def test_an_error_of_a_question_is_raised():
    def fail():
        raise LookupError

    with pytest.raises(LookupError):
        asyncio.run(_Question(fail, otherwise=None).ask())


def test_all_who_ask_at_a_time_share_one_look(control, server_settings):
    pings = []

    def ping():
        pings.append(1)
        return True

    async def ask():
        made = Checkups(control, server_settings, ping)
        found = await asyncio.gather(*(made.latest() for _ in range(50)))
        assert all(each is found[0] for each in found)
        assert found[0].reasons == []
        assert len(pings) == 1

    asyncio.run(ask())


def test_a_redis_that_hangs_is_one_that_does_not_answer(control, server_settings, monkeypatch):
    go_on = threading.Event()
    monkeypatch.setattr(checkups, "_PATIENCE_S", 1.0)  # the store needs some of it

    async def ask():
        made = Checkups(control, server_settings, lambda: go_on.wait(30))
        latest = await made.latest()
        assert [reason.code for reason in latest.reasons] == ["redis_unreachable"]
        go_on.set()

    asyncio.run(ask())

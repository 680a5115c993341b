"""Checkups: shared by all who ask, made by threads that may hang alone."""

import asyncio
import math
import threading

import pytest
from prometheus_client import CollectorRegistry

from core.observing.process import ReadinessFigures
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


def test_what_a_checkup_found_is_in_the_figures_until_the_next(control, server_settings):
    answers = [False]
    made = Checkups(control, server_settings, lambda: answers[0])
    registry = CollectorRegistry()
    registry.register(ReadinessFigures(made))
    value = registry.get_sample_value

    async def ask():
        assert value("ostraka_ready") is None
        await made.latest()
        assert value("ostraka_ready") == 0
        assert value("ostraka_problem", {"code": "redis_unreachable"}) == 1
        answers[0] = True
        made._latest = (-math.inf, made.seen)
        await made.latest()
        assert value("ostraka_ready") == 1
        assert value("ostraka_problem", {"code": "redis_unreachable"}) is None

    asyncio.run(ask())

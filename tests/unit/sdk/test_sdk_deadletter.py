"""Calls about failed memories: what is sent, what is read, and what is not sent twice."""

import asyncio
from datetime import UTC, datetime

import pytest
from ostraka import AsyncOstraka, Discarded, Failure, Ostraka, OstrakaError
from scripted_server import Reply, Script, problem

FAILED = {
    "row": "m_17",
    "id": None,
    "job_id": "job_1",
    "namespace": "n",
    "error": "integrity",
    "attempts": 1,
    "superseded": False,
    "created_at": "2026-03-15T00:00:00.000001Z",
}


def test_failures_are_read_page_by_page(script: Script):
    script.will(Reply({"failures": [FAILED], "next_cursor": "abc"}), Reply({"failures": [], "next_cursor": None}))
    with Ostraka(script.url) as client:
        first = client.failures("a b", limit=1)
        second = client.failures(cursor=first.next_cursor)
    moment = datetime(2026, 3, 15, microsecond=1, tzinfo=UTC)
    assert first.failures == (Failure("m_17", None, "job_1", "n", "integrity", 1, False, moment),)
    assert (second.failures, second.next_cursor) == ((), None)
    assert [asked.target for asked in script.asked] == [
        "/v1/failures?namespace=a+b&limit=1",
        "/v1/failures?limit=100&cursor=abc",
    ]


def test_what_is_chosen_is_sent_and_nothing_else(script: Script):
    script.will(Reply({"retried": 2}), Reply({"discarded": 1, "deletion_ids": ["del_1"]}), Reply({"retried": 0}))
    with Ostraka(script.url) as client:
        assert client.retry_failures("n", ids=["x"], rows=["m_17"]) == 2
        assert client.discard_failures("n", rows=("m_17",)) == Discarded(1, ("del_1",))
        assert client.retry_failures("n") == 0
    assert [(asked.target, asked.json()) for asked in script.asked] == [
        ("/v1/failures/retry", {"namespace": "n", "ids": ["x"], "rows": ["m_17"]}),
        ("/v1/failures/discard", {"namespace": "n", "rows": ["m_17"]}),
        ("/v1/failures/retry", {"namespace": "n"}),
    ]


@pytest.mark.parametrize("call", ["retry_failures", "discard_failures"])
def test_a_lost_answer_is_not_asked_for_again(script: Script, call: str):
    script.will(Reply(problem("unavailable"), 503), Reply(problem("unavailable"), 503))

    async def ask() -> None:
        async with AsyncOstraka(script.url) as client:
            with pytest.raises(OstrakaError):
                await getattr(client, call)("n")

    with Ostraka(script.url) as client, pytest.raises(OstrakaError):
        getattr(client, call)("n")
    asyncio.run(ask())
    assert len(script.asked) == 2

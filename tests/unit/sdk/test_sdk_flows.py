"""Calls of several requests, and the asynchronous client beside the blocking one."""

import asyncio
import inspect
from typing import Any

import pytest
from ostraka import AsyncOstraka, JobTimeout, Ostraka, OstrakaError
from scripted_server import ADDED, JOB, JOB_DONE, MEMORY, Reply, Script, problem

PAGES = [
    Reply({"memories": [{**MEMORY, "id": "a"}, {**MEMORY, "id": "b"}], "next_cursor": "next"}),
    Reply({"memories": [{**MEMORY, "id": "c"}], "next_cursor": None}),
]
METHODS = [name for name, _ in inspect.getmembers(Ostraka, inspect.isfunction) if not name.startswith("_")]


def test_a_list_reads_pages_as_they_are_needed(script: Script):
    script.will(*PAGES)
    with Ostraka(script.url) as client:
        memories = client.list("n", session="s", page_size=2)
        assert (next(memories).id, len(script.asked)) == ("a", 1)
        assert [memory.id for memory in memories] == ["b", "c"]
    assert [asked.target for asked in script.asked] == [
        "/v1/memory?namespace=n&session=s&limit=2",
        "/v1/memory?namespace=n&session=s&limit=2&cursor=next",
    ]


def test_wait_looks_until_the_job_is_done(script: Script):
    script.will(Reply(JOB), Reply(JOB), Reply(JOB_DONE))
    with Ostraka(script.url) as client:
        job = client.wait("job_1")
    assert (job.state, job.failed, job.errors[0].code, job.errors[0].memories) == ("failed", 3, "gone", 3)
    assert len(script.asked) == 3


@pytest.mark.parametrize("timeout_s", [0, 0.05])
def test_wait_gives_up_in_words(script: Script, timeout_s: float):
    script.will(*[Reply(JOB)] * 20)
    with Ostraka(script.url) as client, pytest.raises(JobTimeout, match=r"embedding after .* 0 of 3") as caught:
        client.wait("job_1", timeout_s=timeout_s)
    assert isinstance(caught.value, TimeoutError)
    assert isinstance(caught.value, OstrakaError)


@pytest.mark.parametrize("name", METHODS)
def test_both_clients_have_the_same_methods_and_say_so(name: str):
    blocking, awaited = getattr(Ostraka, name), getattr(AsyncOstraka, name)
    assert list(inspect.signature(blocking).parameters.values()) == list(inspect.signature(awaited).parameters.values())
    assert blocking.__doc__ == awaited.__doc__
    assert "Generator" not in str(inspect.signature(blocking))
    assert not {name for name in dir(AsyncOstraka) if name[0] != "_"} - set(METHODS)


def test_the_asynchronous_client_does_the_same(script: Script):
    script.will(Reply(problem("unavailable"), 503), Reply(drop=True), Reply(ADDED, 202), Reply(JOB), Reply(JOB_DONE))
    script.will(*PAGES, Reply(problem("not_found"), 404))

    async def use() -> list[Any]:
        async with AsyncOstraka(script.url) as client:
            added = await client.add("n", "text")
            job = await client.wait(added.job_id)
            memories = [memory.id async for memory in client.list("n")]
            with pytest.raises(OstrakaError) as caught:
                await client.get("n", "gone")
            return [added.id, job.state, memories, caught.value.code]

    assert asyncio.run(use()) == ["mem_1", "failed", ["a", "b", "c"], "not_found"]
    assert len({asked.headers["idempotency-key"] for asked in script.asked[:3]}) == 1

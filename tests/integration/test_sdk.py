"""The Python client against a real server: what one writes, the other understands."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from ostraka import AsyncOstraka, InvalidRequest, JobTimeout, NewMemory, NotAuthenticated, NotFound, Ostraka

from tests.integration.processes import Server

MOMENT = datetime(2026, 3, 14, 18, 30, tzinfo=UTC)


@pytest.fixture
def sdk(server: Server):
    with Ostraka(server.url) as client:
        yield client


def test_a_memory_lives(sdk: Ostraka, namespace: str):
    added = sdk.add(
        namespace,
        "Ada prefers replies in the evening.",
        session="s",
        tags=["preference"],
        metadata={"plan": {"level": 2}},
        importance=0.5,
        occurred_at=MOMENT,
        ttl_seconds=3_600,
        wait=True,
    )
    assert added.state == "indexed"
    memory = sdk.get(namespace, added.id)
    assert (memory.content, memory.session, memory.tags) == (
        "Ada prefers replies in the evening.",
        "s",
        ("preference",),
    )
    assert (memory.metadata, memory.importance, memory.occurred_at) == ({"plan": {"level": 2}}, 0.5, MOMENT)
    assert memory.expires_at is not None
    assert timedelta(minutes=59) < memory.expires_at - memory.created_at <= timedelta(hours=1)

    changed = sdk.update(namespace, added.id, content="Ada prefers mornings now.", session=None)
    assert (changed.version, changed.session, changed.tags) == (2, None, ("preference",))
    first, second = sdk.history(namespace, added.id)
    assert (first.version, first.closed_at is None, second.closed_at) == (1, False, None)

    receipt = sdk.delete(namespace, added.id)
    assert receipt is not None
    deletion = sdk.deletion(receipt)
    assert (deletion.namespace, deletion.kind, deletion.rows) == (namespace, "memory", 2)
    assert deletion.erased[0].where == "record store"
    with pytest.raises(NotFound) as caught:
        sdk.get(namespace, added.id)
    assert (caught.value.status, caught.value.code) == (404, "not_found")


def test_many_are_found_by_every_condition(sdk: Ostraka, namespace: str):
    items: list[NewMemory] = [
        {
            "content": f"note {number}: the {animal} sleeps",
            "id": f"own-{number}",
            "session": "even" if number % 2 == 0 else "odd",
            "tags": [animal],
            "metadata": {"number": number},
            "occurred_at": MOMENT + timedelta(days=number),
        }
        for number, animal in enumerate(["heron", "otter", "badger", "stoat"])
    ]
    written = sdk.add_many(namespace, [*items, {"content": " "}])
    assert (written.accepted, [each.line for each in written.rejected]) == (4, [5])
    job = sdk.wait(written.job_ids[0])
    assert (job.state, job.indexed, job.failed) == ("indexed", 4, 0)

    found = sdk.search(namespace, "which animal sleeps by the river: otter?", explain=True)
    assert found[0].id == "own-1"
    assert found[0].explain is not None
    assert found.parts_ms
    assert {each.id for each in sdk.search(namespace, "sleeps", tags=["stoat"])} == {"own-3"}
    assert {each.id for each in sdk.search(namespace, "sleeps", session="even")} == {"own-0", "own-2"}
    assert {each.id for each in sdk.search(namespace, "sleeps", filter={"number": {"gte": 2}})} == {"own-2", "own-3"}
    window = sdk.search(namespace, "sleeps", since=MOMENT + timedelta(days=1), until=MOMENT + timedelta(days=2))
    assert [each.id for each in window] == ["own-1"]

    assert [memory.id for memory in sdk.list(namespace, page_size=1)] == [f"own-{number}" for number in range(4)]
    assert sdk.delete_where(namespace, session="even", filter={"number": 0}).deleted == 1
    assert [memory.id for memory in sdk.list(namespace)] == ["own-1", "own-2", "own-3"]


@pytest.mark.parametrize("name", ["a/b", ".", "..", "50 %", "a?b#c", "naïve 東京", "%2F"])
def test_every_name_goes_there_and_back(sdk: Ostraka, namespace: str, name: str):
    sdk.add(f"{namespace} {name}", "text", id=name, session=name, tags=[name])
    assert sdk.namespace(f"{namespace} {name}").name == f"{namespace} {name}"
    assert sdk.get(f"{namespace} {name}", name).id == name
    assert [memory.id for memory in sdk.list(f"{namespace} {name}", session=name)] == [name]
    assert sdk.delete_where(f"{namespace} {name}", session=name, tags=[name]).deleted == 1


def test_the_same_call_with_the_same_key_is_one_write(sdk: Ostraka, namespace: str):
    first = sdk.add(namespace, "once", idempotency_key="k")
    assert sdk.add(namespace, "once", idempotency_key="k") == first
    items: list[NewMemory] = [{"content": "a"}, {"content": ""}]
    written, again = (sdk.add_many(namespace, items, idempotency_key="m") for _ in range(2))
    assert again == replace(written, replayed=1)
    assert len(list(sdk.list(namespace))) == 2


def test_a_writer_reads_its_writes(sdk: Ostraka, namespace: str):
    added = sdk.add(namespace, "the kettle is descaled")
    found = sdk.search(namespace, "kettle", after_job=added.job_id, wait_ms=30_000)
    assert [each.id for each in found] == [added.id]


def test_a_namespace_lives(sdk: Ostraka, namespace: str):
    created = sdk.create_namespace(namespace)
    assert (created.name, created.memories) == (namespace, 0)
    assert namespace in {each.name for each in sdk.namespaces()}
    assert sdk.namespace(namespace).id == created.id
    receipt = sdk.delete_namespace(namespace)
    assert receipt is not None
    deletion = sdk.deletion(receipt)
    assert (deletion.namespace, deletion.kind) == (None, "namespace")
    with pytest.raises(NotFound):
        sdk.namespace(namespace)


def test_the_server_is_well(sdk: Ostraka):
    health = sdk.health()
    assert (health.status, health.problems) == ("healthy", ())


def test_errors_name_the_field(sdk: Ostraka, namespace: str):
    with pytest.raises(InvalidRequest) as caught:
        sdk.add(namespace, "text", importance=7)
    assert (caught.value.status, caught.value.code) == (422, "invalid_input")
    assert [fault.field for fault in caught.value.errors] == ["importance"]


def test_an_unknown_key_is_refused(server: Server):
    with Ostraka(server.url, api_key="ok_unknown") as stranger, pytest.raises(NotAuthenticated):
        stranger.namespaces()


def test_patience_ends_in_words(sdk: Ostraka, namespace: str):
    written = sdk.add_many(namespace, ({"content": f"memory number {number}"} for number in range(500)))
    with pytest.raises(JobTimeout, match="of 500 memories"):
        sdk.wait(written.job_ids[0], timeout_s=0)
    assert sdk.wait(written.job_ids[0]).indexed == 500


def test_many_tasks_share_an_asynchronous_client(server: Server, namespace: str):
    async def use() -> tuple[set[str], set[str]]:
        async with AsyncOstraka(server.url) as client:
            added = await asyncio.gather(*(client.add(namespace, f"fact {number}") for number in range(20)))
            jobs = await asyncio.gather(*(client.wait(each.job_id) for each in added))
            listed = {memory.id async for memory in client.list(namespace, page_size=7)}
            assert {each.id for each in added} == listed
            return {job.state for job in jobs}, {each.id for each in await client.search(namespace, "fact 7", limit=1)}

    states, found = asyncio.run(use())
    assert states == {"indexed"}
    assert len(found) == 1

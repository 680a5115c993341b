"""Failed memories over HTTP: rows that were changed in the database, found by a real worker, mended, or given up."""

import asyncio
import sqlite3

import pytest
from ostraka import AsyncOstraka, NotFound, Ostraka

from tests.commands import run_here
from tests.fault.topology import Topology
from tests.integration.processes import eventually

NAMES = ("first", "second", "third", "fourth", "fifth")


class Damaged:
    """An API with a worker, and memories whose bytes were changed before the worker came."""

    def __init__(self, topology: Topology) -> None:
        self.folder = topology.folder
        self.url = topology.url
        self.client = topology.client
        self.jobs = [self.add(name) for name in NAMES]
        [self.database] = (self.folder / "data" / "companies").glob("*/records.db")
        self.rows = [row for (row,) in self.run("SELECT id FROM memories ORDER BY id")]
        self.flip(*self.rows)
        topology.add_worker()
        eventually(lambda: all(self.state(job) == "failed" for job in self.jobs))

    def add(self, name: str) -> str:
        body = {"namespace": "damaged", "id": name, "content": f"The {name} memory."}
        return self.client.post("/v1/memory", json=body).json()["job_id"]

    def run(self, statement: str, *parameters: object) -> list[tuple]:
        with sqlite3.connect(self.database, timeout=30) as connection:
            found = connection.execute(statement, parameters).fetchall()
        connection.close()
        return found

    def flip(self, *rows: int) -> None:
        """Change one bit of each row, or change it back."""
        for row in rows:
            [(sealed,)] = self.run("SELECT sealed FROM memories WHERE id = ?", row)
            changed = sealed[:-1] + bytes([sealed[-1] ^ 1])
            self.run("UPDATE memories SET sealed = ? WHERE id = ?", changed, row)

    def state(self, job: str) -> str:
        return self.client.get(f"/v1/jobs/{job}").json()["state"]

    def listed(self, **parameters: object) -> list[dict]:
        return self.client.get("/v1/failures", params=parameters).json()["failures"]


@pytest.fixture(scope="module")
def damaged(tmp_path_factory):
    topology = Topology(tmp_path_factory.mktemp("damaged"), {})
    try:
        yield Damaged(topology.start())
        topology.stop()
    finally:
        topology.discard()


def test_failures_come_in_pages_with_what_can_be_known(damaged):
    first = damaged.client.get("/v1/failures", params={"limit": 3}).json()
    second = damaged.client.get("/v1/failures", params={"limit": 3, "cursor": first["next_cursor"]}).json()
    found = first["failures"] + second["failures"]
    assert [failure["row"] for failure in found] == [f"m_{row}" for row in damaged.rows]
    assert [failure["job_id"] for failure in found] == damaged.jobs
    assert {(failure["id"], failure["error"], failure["namespace"]) for failure in found} == {
        (None, "integrity", "damaged")
    }
    assert second["next_cursor"] is None


def test_a_row_that_was_mended_is_listed_with_its_id_and_indexed_after_a_retry(damaged):
    row, job = damaged.rows[0], damaged.jobs[0]
    damaged.flip(row)
    assert damaged.listed(namespace="damaged")[0]["id"] == "first"
    memory = damaged.client.get("/v1/memory/first", params={"namespace": "damaged"}).json()
    assert (memory["state"], memory["error"]) == ("failed", "integrity")

    answer = damaged.client.post(f"/v1/jobs/{job}/retry").json()
    assert (answer["failed"], answer["errors"]) == (0, [])
    eventually(lambda: damaged.state(job) == "indexed")
    search = {"namespace": "damaged", "query": "the first memory", "mode": "text"}
    assert damaged.client.get("/v1/memory/search", params=search).json()["results"][0]["id"] == "first"


def test_a_row_that_is_still_broken_fails_again(damaged):
    chosen = {"namespace": "damaged", "rows": [f"m_{damaged.rows[1]}"]}
    assert damaged.client.post("/v1/failures/retry", json=chosen).json() == {"retried": 1}
    eventually(lambda: damaged.state(damaged.jobs[1]) == "failed")


def test_the_client_lists_retries_and_discards(damaged):
    with Ostraka(damaged.url) as client:
        page = client.failures("damaged", limit=2)
        assert [failure.row for failure in page.failures] == [f"m_{row}" for row in damaged.rows[1:3]]
        rest = client.failures(cursor=page.next_cursor)
        assert [failure.error for failure in rest.failures] == ["integrity"] * 2
        damaged.flip(damaged.rows[2])
        assert client.retry_failures("damaged", ids=["third", "nobody"]) == 1
        assert client.wait(damaged.jobs[2]).indexed == 1
        done = client.discard_failures("damaged", rows=[f"m_{damaged.rows[3]}"])
        assert (done.discarded, len(done.deletion_ids)) == (1, 1)
        with pytest.raises(NotFound):
            client.get("damaged", "fourth")
        with pytest.raises(NotFound):
            client.failures("nowhere")

    async def look() -> list[str]:
        async with AsyncOstraka(damaged.url) as client:
            assert await client.retry_failures("damaged", rows=[f"m_{damaged.rows[3]}"]) == 0
            assert (await client.discard_failures("damaged", ids=["nobody"])).discarded == 0
            return [failure.job_id for failure in (await client.failures()).failures]

    assert asyncio.run(look()) == [damaged.jobs[1], damaged.jobs[4]]


def test_the_command_line_lists_retries_and_discards(damaged):
    def ostraka(*arguments: str) -> tuple[int, str, str]:
        return run_here(damaged.folder, "failures", *arguments)

    status, out, err = ostraka("list")
    assert status == 0, err
    for row, job in ((1, 1), (4, 4)):
        assert f"m_{damaged.rows[row]}" in out
        assert damaged.jobs[job] in out
    assert f"m_{damaged.rows[0]}" not in out

    damaged.flip(damaged.rows[4])
    status, out, err = ostraka("retry", "--namespace", "damaged", "--id", "fifth")
    assert (status, out.strip()) == (0, "retried 1"), err
    eventually(lambda: damaged.state(damaged.jobs[4]) == "indexed")
    status, out, err = ostraka("discard", "--namespace", "damaged", "--all")
    assert status == 0, err
    assert out.startswith("discarded 1\ndel_")
    assert damaged.listed() == []


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "namespace"),
        ({"namespace": "damaged", "ids": []}, "ids"),
        ({"namespace": "damaged", "rows": []}, "rows"),
        ({"namespace": "damaged", "rows": ["m_0"]}, "rows.0"),
        ({"namespace": "damaged", "rows": ["m_" + "9" * 19]}, "rows.0"),
        ({"namespace": "damaged", "colour": "red"}, "colour"),
    ],
)
@pytest.mark.parametrize("route", ["retry", "discard"])
def test_a_selection_that_means_nothing_is_refused(client, route, body, field):
    answer = client.post(f"/v1/failures/{route}", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input")
    assert field in {fault["field"] for fault in answer.json()["errors"]}


def test_a_namespace_without_failures(client, namespace, remember):
    remember("fine")
    assert client.get("/v1/failures", params={"namespace": namespace}).json() == {"failures": [], "next_cursor": None}
    for route, counted in (("retry", {"retried": 0}), ("discard", {"discarded": 0, "deletion_ids": []})):
        assert client.post(f"/v1/failures/{route}", json={"namespace": namespace}).json() == counted
        assert client.post(f"/v1/failures/{route}", json={"namespace": "nowhere"}).status_code == 404

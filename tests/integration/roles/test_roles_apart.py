"""Every role as a process of its own: each does its part, says what it leaves to others, and ends when it is told.

The API's Redis is nowhere: every ring of its is lost. The worker looks for nothing by itself. So whatever becomes
searchable here, the scheduler rang for.
"""

import re
import signal
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx
import pytest

from tests.integration.processes import Process, eventually
from tests.integration.roles.fleet import Fleet, found, indexed, note

PASSWORD = "s3cret-of-redis"
USERS = "ada:correct horse\n"
QUICK = {"OSTRAKA_QUEUE__RECONCILE_S": "0.5"}
NOWHERE = "redis://127.0.0.1:1/0"


@dataclass(frozen=True)
class Apart:
    """A client of each role."""

    fleet: Fleet
    api: httpx.Client
    query: httpx.Client
    worker: httpx.Client
    scheduler: httpx.Client
    flower: httpx.Client


@pytest.fixture(scope="module")
def apart(tmp_path_factory):
    folder = tmp_path_factory.mktemp("apart")
    password, users = folder / "password", folder / "users"
    for file, content in ((password, PASSWORD), (users, USERS)):
        file.write_text(content)
        file.chmod(0o600)
    fleet = Fleet(
        folder, OSTRAKA_QUEUE__REDIS_PASSWORD_FILE=str(password), OSTRAKA_FLOWER__USERS_FILE=str(users), **QUICK
    )
    try:
        fleet.start_redis("--requirepass", PASSWORD)
        starting = [
            fleet.begin("api", "--no-search", "--port", "0", OSTRAKA_QUEUE__REDIS_URL=NOWHERE),
            fleet.begin("query", "--port", "0"),
            fleet.begin("worker", OSTRAKA_WORKER__WATCH="false"),
            fleet.begin("scheduler"),
            fleet.begin("flower", "--port", "0"),
        ]
        yield Apart(fleet, *(fleet.client_of(member) for member in starting))
        fleet.stop()
    finally:
        fleet.discard()


def code_of(answer):
    return answer.status_code, answer.json()["code"]


def test_what_one_role_takes_in_another_finds(apart):
    added = apart.api.post("/v1/memory", json=note("The kettle is in room 12."))
    assert added.status_code == 202
    eventually(lambda: indexed(apart.api, added.json()["job_id"]))
    assert found(apart.query, "where is the kettle?") == ["The kettle is in room 12."]


def test_what_a_role_leaves_to_others_it_says(apart):
    asked = {"namespace": "notes", "query": "kettle"}
    assert code_of(apart.api.get("/v1/memory/search", params=asked)) == (404, "not_served_here")
    assert code_of(apart.api.post("/v1/memory/search", json=asked)) == (404, "not_served_here")
    for method, path in (
        ("POST", "/v1/memory"),
        ("GET", "/v1/jobs"),
        ("POST", "/admin/keys"),
        ("DELETE", "/v1/memory"),
    ):
        assert code_of(apart.query.request(method, path)) == (404, "not_served_here")
    assert (apart.api.get("/health").json()["role"], apart.query.get("/health").json()["role"]) == (
        "no-search",
        "query",
    )
    described = {name: set(getattr(apart, name).get("/openapi.json").json()["paths"]) for name in ("api", "query")}
    health = {"/health", "/health/live", "/health/ready", "/metrics"}
    assert described["query"] == {"/v1/memory/search"} | health
    assert "/v1/memory/search" not in described["api"]
    assert described["api"] > {"/v1/memory", "/v1/jobs", "/admin/keys"} | health


def test_every_role_has_health_and_metrics(apart):
    for name in ("query", "worker", "scheduler"):
        client = getattr(apart, name)
        assert client.get("/health/live").json() == {"status": "alive"}
        eventually(lambda client=client: client.get("/health/ready").json() == {"status": "ready"})
        figures = client.get("/metrics").text
        assert 'ostraka_queue_oldest_age_seconds{queue="embed"}' in figures
        assert "ostraka_ready 1.0" in figures
        assert "ostraka_free_bytes" in figures
        assert len(re.findall(r"^process_open_fds ", figures, re.MULTILINE)) == 1
    unready = apart.api.get("/health/ready").json()
    assert [each["code"] for each in unready["errors"]] == ["redis_unreachable"]


def test_flower_shows_our_tasks_and_touches_none(apart):
    page, stranger = apart.flower, httpx.Client(base_url=apart.flower.base_url)
    page.auth = tuple(USERS.strip().split(":"))
    job = apart.api.post("/v1/memory", json=note("Nobody may read this there.")).json()["job_id"]
    eventually(lambda: indexed(apart.api, job))
    tasks = eventually(
        lambda: (
            (seen := page.get("/api/tasks").json())
            and {"ostraka.embed", "ostraka.maintain"} <= {task["name"] for task in seen.values()}
            and seen
        )
    )
    assert {task["name"] for task in tasks.values()} <= {"ostraka.embed", "ostraka.index", "ostraka.maintain"}
    assert {task["args"].strip("[](),'").rpartition("_")[0] for task in tasks.values()} == {"co"}
    assert "Nobody may" not in str(tasks)
    for path in ("worker/shutdown/any", "task/revoke/any", "task/send-task/ostraka.embed"):
        assert page.post(f"/api/{path}").status_code == 403
    with stranger:
        for path in ("/", "/tasks", "/api/tasks", "/metrics"):
            assert stranger.get(path).status_code == 401
            assert stranger.get(path, auth=("ada", "wrong")).status_code == 401
        assert stranger.get("/healthcheck").text == "OK"
    assert page.get("/metrics").status_code == 200
    assert PASSWORD not in page.get("/broker").text + page.get("/").text


def test_no_secret_is_in_a_command_line_or_a_log(apart):
    for member in apart.fleet.members:
        told = Path(f"/proc/{member.pid}/cmdline").read_text() + member.log.read_text()
        assert PASSWORD not in told
        assert "correct horse" not in told


@pytest.mark.long_run
def test_roles_that_are_killed_and_come_back_lose_nothing(fleet):
    roles = (("api", "--no-search", "--port", "0"), ("query", "--port", "0"), ("worker",), ("scheduler",))

    def start() -> list[Process]:
        return [fleet.begin(*role, OSTRAKA_QUEUE__LEASE_S="3") for role in roles]

    members = start()
    writer = fleet.client_of(members[0])
    for round_ in range(3):
        jobs = [writer.post("/v1/memory", json=note(f"Note {round_} {number}.")) for number in range(20)]
        for member in members:
            member.end(signal.SIGKILL)
            fleet.members.remove(member)
        members = start()
        writer, reader = fleet.client_of(members[0]), fleet.client_of(members[1])
        for job in jobs:
            eventually(partial(indexed, writer, job.json()["job_id"]))
    expected = sorted(f"Note {round_} {number}." for round_ in range(3) for number in range(20))
    assert sorted(found(reader, "note", limit=100)) == expected

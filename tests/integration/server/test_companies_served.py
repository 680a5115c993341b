"""The life of companies on a running server: suspended, bounded and deleted while API and worker have them open."""

import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.commands import run_here
from tests.integration.processes import Process, Server, cache_mark, eventually
from tests.integration.server.lone_api import LoneApi

MEMORY = {"namespace": "notes", "content": "The harbour opens at nine."}


class Served:
    """A server with an operator's key, and companies on demand."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.operator = self.key("default", "read,write,admin")

    def command(self, *words: str) -> str:
        done = run_here(self.server.folder, *words)
        assert done.status == 0, done.said
        return done.out.rstrip("\n").rpartition("\n")[2]

    def key(self, company: str, scope: str = "read,write") -> str:
        return self.command("keys", "create", "--company", company, "--scope", scope)

    def company(self, name: str) -> tuple[str, str]:
        """Return the id and a key of a new company, which has a memory."""
        made = self.command("companies", "create", name), self.key(name)
        eventually(lambda: self.call(made[1], "POST", "/v1/memory?wait=true", json=MEMORY).status_code == 201)
        return made

    def call(self, key: str, method: str, path: str, **more) -> httpx.Response:
        return self.server.client.request(method, path, headers={"Authorization": f"Bearer {key}"}, **more)

    def code(self, key: str) -> str:
        response = self.call(key, "GET", "/v1/memory?namespace=notes")
        return "ok" if response.status_code == 200 else response.json()["code"]

    def folder(self, company: str) -> Path:
        return self.server.data / "companies" / company


@pytest.fixture(scope="module")
def served(tmp_path_factory) -> Iterator[Served]:
    server = Server(tmp_path_factory.mktemp("companies"))
    try:
        yield Served(server.start())
        server.stop()
    finally:
        server.discard()


def test_a_suspension_reaches_every_process_and_ends(served, tmp_path):
    _, key = served.company("harbour")
    second = LoneApi(served.server.folder)  # another API on the same data
    try:
        second.start()
        headers = {"Authorization": f"Bearer {key}"}

        def codes() -> set[object]:
            there = second.client.get("/v1/memory?namespace=notes", headers=headers)
            return {served.code(key), "ok" if there.status_code == 200 else there.json()["code"]}

        assert eventually(lambda: codes() == {"ok"})
        served.command("companies", "suspend", "harbour")
        assert eventually(lambda: codes() == {"company_suspended"})
        refused = served.call(key, "POST", "/v1/memory", json=MEMORY)
        assert (refused.status_code, refused.json()["code"]) == (403, "company_suspended")
        assert served.code(served.operator) == "not_found"  # others go on: it has no such namespace
        assert served.server.client.get("/health/ready").status_code == 200
        served.command("companies", "resume", "harbour")
        assert eventually(lambda: codes() == {"ok"})
        second.stop()
    finally:
        second.discard()
    cache = Path("/dev/shm").glob(f"ostraka-*-{cache_mark(served.server.data)}.lock")
    assert list(cache)  # the server's, too


def test_a_deletion_by_command_reaches_the_server(served):
    company, key = served.company("lighthouse")
    assert served.folder(company).is_dir()
    served.command("companies", "delete", "lighthouse", "--yes")
    assert eventually(lambda: served.code(key) == "unauthenticated")
    # A process that had it open may make it anew as it lets go: the worker's maintenance comes back to it.
    assert eventually(lambda: not served.folder(company).exists())
    again, _ = served.company("lighthouse")
    assert again != company
    assert run_here(served.server.folder, "companies", "list")[1].count("lighthouse") == 1


def test_a_deletion_by_command_asks_first(served):
    _, key = served.company("pier")
    status, _, _ = run_here(served.server.folder, "companies", "delete", "pier")  # nobody answers
    assert status == 1
    assert served.code(key) == "ok"
    status, _, said = run_here(served.server.folder, "companies", "delete", "default", "--yes")
    assert status == 2
    assert "the default company cannot be deleted" in said


def test_the_operator_manages_companies_over_the_api(served):
    made = served.call(served.operator, "POST", "/admin/companies", json={"name": "quay", "memories_max": 2})
    assert made.status_code == 201
    company, path = made.json()["id"], f"/admin/companies/{made.json()['id']}"
    assert made.json() == {
        "id": company,
        "name": "quay",
        "created_at": made.json()["created_at"],
        "suspended": False,
        "memories_max": 2,
        "bytes_max": None,
        "requests_per_s": None,
    }
    again = served.call(served.operator, "POST", "/admin/companies", json={"name": "quay"})
    assert (again.status_code, again.json()["code"]) == (409, "conflict")
    listed = served.call(served.operator, "GET", "/admin/companies").json()["companies"]
    assert made.json() in listed

    key = served.key("quay")
    for _ in range(2):
        assert eventually(lambda: served.call(key, "POST", "/v1/memory", json=MEMORY).status_code == 202)
    refused = served.call(key, "POST", "/v1/memory", json=MEMORY)
    assert (refused.status_code, refused.json()["code"]) == (409, "quota_exceeded")
    use = served.call(served.operator, "GET", path).json()
    assert use["memories"] == 2
    assert use["bytes"] > 2 * len(MEMORY["content"])

    changed = served.call(served.operator, "PATCH", path, json={"memories_max": None, "suspended": True})
    assert (changed.json()["memories_max"], changed.json()["suspended"]) == (None, True)
    assert eventually(lambda: served.code(key) == "company_suspended")
    served.call(served.operator, "PATCH", path, json={"suspended": False})
    assert eventually(lambda: served.call(key, "POST", "/v1/memory", json=MEMORY).status_code == 202)

    wrong = served.call(served.operator, "DELETE", path, json={"name": "harbour"})
    assert (wrong.status_code, wrong.json()["code"]) == (409, "conflict")
    gone = served.call(served.operator, "DELETE", path, json={"name": "quay"})
    assert gone.status_code == 200
    assert gone.json()["id"] == company
    assert eventually(lambda: served.code(key) == "unauthenticated")
    assert eventually(lambda: not served.folder(company).exists())
    for method, body in (("GET", None), ("PATCH", {"suspended": True}), ("DELETE", {"name": "quay"})):
        missing = served.call(served.operator, method, path, json=body)
        assert (missing.status_code, missing.json()["code"]) == (404, "not_found")


def test_the_default_company_stays(served):
    home = served.call(served.operator, "GET", "/v1/whoami").json()["company"]
    for method, body in (("PATCH", {"suspended": True}), ("DELETE", {"name": "default"})):
        refused = served.call(served.operator, method, f"/admin/companies/{home}", json=body)
        assert (refused.status_code, refused.json()["code"]) == (409, "default_company")


def test_companies_are_the_operators(served):
    company, _ = served.company("ropes")
    path = f"/admin/companies/{company}"
    calls = [
        ("GET", "/admin/companies", None),
        ("POST", "/admin/companies", {"name": "mine"}),
        ("GET", path, None),
        ("PATCH", path, {"memories_max": None}),
        ("DELETE", path, {"name": "ropes"}),
    ]
    own_admin = served.key("ropes", "read,write,admin")
    eventually(lambda: served.call(own_admin, "GET", "/v1/whoami").status_code == 200)
    for method, where, body in calls:
        refused = served.call(own_admin, method, where, json=body)
        assert (refused.status_code, refused.json()["code"]) == (403, "operator_only")
        assert served.call("wrong", method, where, json=body).status_code == 401
    assert served.folder(company).is_dir()


def test_the_figures_of_companies_are_the_operators_and_go_with_them(served):
    company, key = served.company("nets")
    figures = served.call(served.operator, "GET", "/metrics").text
    assert f'ostraka_company_memories{{company="{company}"}} 1.0' in figures
    assert f'ostraka_company_suspended{{company="{company}"}} 0.0' in figures
    assert f'ostraka_quota_refusals_total{{company="{company}"}} 0.0' in figures
    assert "nets" not in figures
    assert "ostraka_company" not in served.call(key, "GET", "/metrics").text
    served.command("companies", "delete", "nets", "--yes")
    assert company not in served.call(served.operator, "GET", "/metrics").text


def test_a_deletion_killed_after_the_key_is_finished_by_the_server(served):
    company, key = served.company("ferry")
    killed = Process(served.server.folder, "companies", "delete", "ferry", "--yes")
    killed.program = ("-m", "tests.integration.server.killed_deletion")
    killed.environment["PYTHONPATH"] = str(Path(__file__).parents[3])
    assert killed.spawn().wait() == -signal.SIGKILL
    assert eventually(lambda: served.code(key) == "unauthenticated")
    assert eventually(lambda: not served.folder(company).exists())  # the worker's maintenance
    assert served.server.client.get("/health/ready").status_code == 200

"""The life of companies on a running server: suspended, bounded and deleted while API and worker have them open."""

import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.integration.processes import Process, Server, eventually, run_command
from tests.integration.server.lone_api import LoneApi

MEMORY = {"namespace": "notes", "content": "The harbour opens at nine."}


class Served:
    """A server with an operator's key, and companies on demand."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.operator = self.key("default", "read,write,admin")

    def command(self, *words: str) -> str:
        status, out, err = run_command(self.server.folder, *words)
        assert status == 0, err
        return out.rstrip("\n").rpartition("\n")[2]

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
        Process.discard(second)  # its cache is the server's, too


def test_a_deletion_by_command_reaches_the_server(served):
    company, key = served.company("lighthouse")
    assert served.folder(company).is_dir()
    served.command("companies", "delete", "lighthouse", "--yes")
    assert eventually(lambda: served.code(key) == "unauthenticated")
    assert not served.folder(company).exists()
    again, _ = served.company("lighthouse")
    assert again != company
    assert run_command(served.server.folder, "companies", "list")[1].count("lighthouse") == 1


def test_a_deletion_by_command_asks_first(served):
    _, key = served.company("pier")
    status, _, _ = run_command(served.server.folder, "companies", "delete", "pier")  # nobody answers
    assert status == 1
    assert served.code(key) == "ok"
    status, _, said = run_command(served.server.folder, "companies", "delete", "default", "--yes")
    assert status == 2
    assert "the default company cannot be deleted" in said


def test_a_deletion_killed_after_the_key_is_finished_by_the_server(served):
    company, key = served.company("ferry")
    killed = Process(served.server.folder, "companies", "delete", "ferry", "--yes")
    killed.program = ("-m", "tests.integration.server.killed_deletion")
    killed.environment["PYTHONPATH"] = str(Path(__file__).parents[3])
    assert killed.spawn().wait() == -signal.SIGKILL
    assert eventually(lambda: served.code(key) == "unauthenticated")
    assert eventually(lambda: not served.folder(company).exists())  # the worker's maintenance
    assert served.server.client.get("/health/ready").status_code == 200

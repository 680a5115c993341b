"""Freezing a running server: a copy of its files, made with tar, holds every write that was acknowledged."""

import base64
import os
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from core.records.apikeys import create_key
from core.records.control import open_control
from core.settings import load_settings
from tests.commands import run_here
from tests.integration.processes import Server, eventually

WRITERS = 8
JSON = {"content-type": "application/json"}


@pytest.fixture
def environment() -> dict[str, str]:
    return {"OSTRAKA_ENCRYPTION_KEY": base64.b64encode(os.urandom(32)).decode(), "OSTRAKA_QUEUE__RECONCILE_S": "0.2"}


class Writers:
    """Write until told to stop, through a freeze too; remember what was acknowledged and what was refused."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.acknowledged: list[str] = []
        self.refusals: list[httpx.Response] = []
        self.others: list[int] = []
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(WRITERS)
        self._running = [self._pool.submit(self._write, writer) for writer in range(WRITERS)]

    def _write(self, writer: int) -> None:
        number = 0
        with httpx.Client(base_url=self.url, timeout=60) as client:
            while not self._stop.is_set():
                name = f"w{writer}n{number}"
                number += 1
                body = {"namespace": "load", "id": name, "content": f"The word is {name}x."}
                response = client.post("/v1/memory", json=body)
                if response.status_code == 202:
                    self.acknowledged.append(name)
                elif response.status_code == 503:
                    self.refusals.append(response)
                    time.sleep(0.05)
                else:
                    self.others.append(response.status_code)

    def stop(self) -> None:
        self._stop.set()
        for running in self._running:
            running.result()
        assert self.others == []


def listed(client: httpx.Client) -> list[str]:
    found, cursor = [], None
    while True:
        params = {"namespace": "load", "limit": 500} | ({"cursor": cursor} if cursor else {})
        page = client.get("/v1/memory", params=params).json()
        found += [memory["id"] for memory in page["memories"]]
        if (cursor := page["next_cursor"]) is None:
            return found


def copy_of(server: Server, folder: Path) -> Path:
    """Copy the data directory as an operator does, with tar; a file that changed meanwhile would be an error."""
    (folder / "data").mkdir(parents=True)
    archive = folder / "copy.tar"
    subprocess.run(["tar", "-C", server.data, "--exclude=*.sock", "-cf", archive, "."], check=True)
    subprocess.run(["tar", "-C", folder / "data", "-xf", archive], check=True)
    return folder


def searchable(client: httpx.Client, name: str) -> bool:
    body = {"namespace": "load", "query": f"{name}x", "mode": "text"}
    return [hit["id"] for hit in client.post("/v1/memory/search", json=body).json()["results"]] == [name]


@pytest.mark.long_run
def test_a_copy_made_under_load_holds_every_acknowledged_write(server_folder, environment, tmp_path):
    server = server_folder(environment=environment).start()
    writers = Writers(server.url)
    eventually(lambda: len(writers.acknowledged) > 100)
    frozen = server.client.post("/admin/freeze", json={}).json()
    assert (frozen["state"], frozen["drained"]) == ("frozen", True)
    eventually(lambda: len(writers.refusals) > WRITERS)  # answers that were on their way have arrived
    held = len(writers.acknowledged)
    searched = listed(server.client)
    assert set(searched) == set(writers.acknowledged)
    copied = copy_of(server, tmp_path / "copy")
    eventually(lambda: len(writers.refusals) > 3 * WRITERS)
    assert len(writers.acknowledged) == held
    for refusal in writers.refusals:
        assert refusal.json()["code"] == "frozen"
        assert int(refusal.headers["retry-after"]) >= 1

    assert server.client.post("/admin/unfreeze", json={}).json()["state"] == "open"
    eventually(lambda: len(writers.acknowledged) > held + 100)
    writers.stop()
    eventually(lambda: searchable(server.client, writers.acknowledged[-1]))
    assert sorted(listed(server.client)) == sorted(writers.acknowledged)
    server.stop()

    status, _, said = run_here(copied, "unfreeze", environment=environment)
    assert status == 0, said
    other = Server(copied, environment=environment)
    try:
        other.start()
        assert sorted(listed(other.client)) == sorted(searched)
        eventually(lambda: all(searchable(other.client, name) for name in searched[-20:]))
        more = {"namespace": "load", "id": "more", "content": "The word is morex."}
        assert other.client.post("/v1/memory", params={"wait": True}, json=more).status_code == 201
        other.stop()
    finally:
        other.discard()


def test_a_freeze_survives_a_restart_and_the_worker_idles_quietly(server_folder, environment):
    server = server_folder(environment=environment).start()
    add = {"namespace": "load", "id": "first", "content": "The word is firstx."}
    assert server.client.post("/v1/memory", params={"wait": True}, json=add).status_code == 201
    status, said, _ = run_here(server.folder, "freeze", environment=environment)
    assert status == 0
    assert str(server.data) in said
    server.stop()

    server = server_folder(environment=environment)
    server.spawn()
    server.url = server.event("listening")["url"]
    server.client = httpx.Client(base_url=server.url, timeout=60)
    assert server.worker.is_running()
    time.sleep(2)  # ten looks of the watch
    assert server.client.get("/admin/freeze").json()["state"] == "frozen"
    assert searchable(server.client, "first")
    assert server.client.post("/v1/memory", json=add | {"id": "late"}).status_code == 503
    assert [line for line in server.log.read_text().splitlines() if '"level": "error"' in line] == []

    status, _, _ = run_here(server.folder, "unfreeze", environment=environment)
    assert status == 0
    second = add | {"id": "second", "content": "The word is secondx."}
    assert server.client.post("/v1/memory", params={"wait": True}, json=second).status_code == 201
    server.stop()


def test_a_freeze_ends_by_itself(client, namespace):
    add = {"namespace": namespace, "id": "first", "content": "The word is firstx."}
    assert client.post("/admin/freeze", json={"max_seconds": 1.5}).json()["frozen_until"]
    assert client.post("/v1/memory", json=add).status_code == 503
    eventually(lambda: client.post("/v1/memory", params={"wait": True}, json=add).status_code == 201)
    assert client.get("/admin/freeze").json() == {"state": "open", "frozen_at": None, "frozen_until": None}


def test_only_the_operator_freezes(server_folder, environment):
    server = server_folder(environment=environment)
    control = open_control(load_settings(None, {"storage": {"path": server.data}}), environment)
    home, other = control.find_company("default").id, control.create_company("other").id
    keys = {
        (200, None): create_key(control, home, ["admin"], ["*"], None),
        (403, "scope_missing"): create_key(control, home, ["read", "write"], ["*"], None),
        (403, "operator_only"): create_key(control, other, ["admin"], ["*"], None),
    }
    partly = create_key(control, home, ["admin"], ["agent-*"], None)
    control.close()
    server.start()
    for path in ("/admin/freeze", "/admin/unfreeze", "/admin/backup"):
        for (status, code), key in [*keys.items(), ((403, "operator_only"), partly)]:
            answer = server.client.post(path, json={}, headers={"x-api-key": key})
            assert answer.status_code == status, path
            assert code is None or answer.json()["code"] == code
        assert server.client.post(path, json={}).status_code == 401
    server.stop()


@pytest.mark.parametrize("path", ["/admin/freeze", "/admin/unfreeze", "/admin/backup"])
def test_no_foreign_page_can_ask_for_it(client, path):
    """A browser sends text across sites without asking; JSON it does not."""
    for headers, content in (({}, b""), ({"content-type": "text/plain"}, b"{}")):
        assert client.post(path, content=content, headers=headers).status_code == 422
    assert client.get("/admin/freeze").json()["state"] == "open"


@pytest.mark.parametrize("seconds", [0, -1, 10**9, "soon"])
def test_an_impossible_limit_is_refused(client, seconds):
    assert client.post("/admin/freeze", json={"max_seconds": seconds}).status_code == 422
    assert client.get("/admin/freeze").json()["state"] == "open"

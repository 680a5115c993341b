"""The audit log of a real server: who did what, durable where it matters, and nothing of what was said."""

import base64
import os
import signal

import orjson
import pytest

from core.records.control import open_control
from core.settings import load_settings
from tests.commands import run_here
from tests.integration.processes import eventually

CANARY = "wombat"


@pytest.fixture
def environment() -> dict[str, str]:
    return {"OSTRAKA_ENCRYPTION_KEY": base64.b64encode(os.urandom(32)).decode()}


@pytest.fixture
def server(server_folder, environment):
    return server_folder(environment=environment)


@pytest.fixture
def key(server, environment) -> dict[str, str]:
    status, printed, said = run_here(
        server.folder, "keys", "create", "--scope", "read,write,admin", environment=environment
    )
    assert status == 0, said
    return {"x-api-key": printed.strip()}


def entries(server, key, **wanted) -> list[dict]:
    answer = server.client.get("/admin/audit", params={"limit": 500, **wanted}, headers=key)
    assert answer.status_code == 200, answer.text
    return answer.json()["entries"]


def told(entry: dict) -> tuple[str, str, int]:
    return entry["action"], entry["result"], entry["times"]


def test_it_says_who_did_what_and_outlives_a_kill(server, environment, key):
    server.start()
    key_id = key["x-api-key"].split("_", 1)[1].split(".")[0]
    client = server.client
    fields = {"namespace": CANARY, "content": f"A {CANARY} digs.", "tags": [CANARY], "metadata": {CANARY: CANARY}}
    for number in range(7):
        added = client.post("/v1/memory", json={**fields, "id": f"{CANARY}-{number}"}, headers=key)
        assert added.status_code == 202
    assert client.get("/v1/memory/search", params={"namespace": CANARY, "query": CANARY}, headers=key).is_success
    namespace = client.get(f"/v1/namespaces/{CANARY}", headers=key).json()["id"]
    for number in range(30):
        refused = client.post("/v1/memory", json=fields, headers={"x-api-key": f"{CANARY}{number}"})
        assert refused.status_code in (401, 429)
    assert client.post("/v1/memory", json={**fields, CANARY: 1}, headers=key).status_code == 422

    found = entries(server, key)
    assert {told(entry) for entry in found} >= {
        ("key.create", "begun", 1),
        ("key.create", "ok", 1),
        ("memory.add", "ok", 7),
        ("memory.add", "refused:invalid_input", 1),
        ("memory.search", "ok", 1),
        ("namespace.read", "ok", 1),
    }
    added = next(entry for entry in found if told(entry) == ("memory.add", "ok", 7))
    assert added["actor"].endswith(key_id)
    assert (added["namespace"], added["address"]) == (namespace, "127.0.0.1")
    strangers = [entry for entry in found if entry["actor"] == "unknown"]
    assert sum(entry["times"] for entry in strangers) == 30
    assert len(strangers) <= 2

    assert client.post("/admin/freeze", json={}, headers=key).json()["state"] == "frozen"
    assert client.delete(f"/v1/namespaces/{CANARY}", headers=key).json()["code"] == "frozen"
    assert entries(server, key, action="server.freeze")[0]["result"] == "begun"  # its end cannot be written yet
    assert client.post("/admin/unfreeze", json={}, headers=key).json()["state"] == "open"
    assert {told(entry) for entry in entries(server, key)} >= {
        ("server.freeze", "ok", 1),
        ("server.unfreeze", "ok", 1),
        ("namespace.delete", "failed:frozen", 1),
    }

    assert client.delete(f"/v1/namespaces/{CANARY}", headers=key).status_code == 204
    server.end(signal.SIGKILL)
    status, printed, said = run_here(server.folder, "audit", "verify", environment=environment)
    assert (status, printed.split(":")[0]) == (0, "whole"), said
    status, printed, _ = run_here(server.folder, "audit", "list", "--json", "--limit", "500", environment=environment)
    assert status == 0
    lines = [orjson.loads(line) for line in printed.splitlines()]
    assert [(line["action"], line["result"]) for line in lines[:2]] == [
        ("namespace.delete", "ok"),
        ("namespace.delete", "begun"),
    ]
    assert lines[0]["namespace"] == namespace
    assert CANARY not in printed
    assert [line["seq"] for line in lines] == list(range(len(lines), 0, -1))


def test_only_the_operator_reads_it_in_pages(server, environment, key):
    control = open_control(load_settings(None, {"storage": {"path": server.data}}), environment)
    other = control.create_company("other").id
    control.close()
    status, stranger, said = run_here(
        server.folder, "keys", "create", "--company", "other", "--scope", "read,write,admin", environment=environment
    )
    assert status == 0, said
    server.start()
    refused = server.client.get("/admin/audit", headers={"x-api-key": stranger.strip()})
    assert (refused.status_code, refused.json()["code"]) == (403, "operator_only")
    assert server.client.get("/admin/audit").status_code == 401

    everything, pages, cursor = [], 0, None
    while True:
        params = {"limit": 2, **({"cursor": cursor} if cursor else {})}
        page = server.client.get("/admin/audit", params=params, headers=key).json()
        everything, pages, cursor = everything + page["entries"], pages + 1, page["next_cursor"]
        if cursor is None:
            break
    assert pages > 1
    assert [entry["seq"] for entry in everything] == list(range(everything[0]["seq"], 0, -1))
    assert {told(entry) for entry in entries(server, key, company=other)} >= {
        ("audit.list", "refused:operator_only", 1)
    }
    assert entries(server, key, since="2999-01-01T00:00:00Z") == []
    assert eventually(lambda: entries(server, key, action="audit.list"))

"""Receipts over REST: every way to delete names one, and it tells the truth until the end."""

from datetime import datetime, timedelta

import pytest

from tests.commands import run_here
from tests.integration.processes import eventually

RECEIPT = "Ostraka-Deletion"


@pytest.fixture
def receipt(client):
    def get(deletion_id):
        answer = client.get(f"/v1/deletions/{deletion_id}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    return get


def add(client, namespace, *items) -> None:
    rows = [{"namespace": namespace, "content": "The kettle is descaled."} | item for item in items]
    assert client.post("/v1/memory/bulk", json=rows).status_code == 202


def test_a_memorys_delete_names_its_receipt(client, namespace, remember, receipt):
    remember("first", id="x")
    remember("second", id="x")
    answer = client.delete("/v1/memory/x", params={"namespace": namespace})
    assert (answer.status_code, answer.content) == (204, b"")

    found = receipt(answer.headers[RECEIPT])

    assert (found["kind"], found["namespace"], found["rows"]) == ("memory", namespace, 2)
    assert found["state"] in {"erased", "purged"}
    assert found["finished_at"] == found["created_at"]
    due, created = (datetime.fromisoformat(found[name]) for name in ("purge_due_at", "created_at"))
    assert due - created == timedelta(hours=1)
    assert found["erased"][0] == {
        "where": "record store",
        "what": "content, vectors, metadata",
        "at": found["finished_at"],
    }
    remains = {each["where"]: each["until"] for each in found["remains"]}
    assert remains.pop("backups") is None
    assert {until for until in remains.values() if until} <= {found["purge_due_at"]}


@pytest.mark.parametrize(("params", "kind", "rows"), [({"session": "s"}, "session", 2), ({"tags": ["t"]}, "filter", 1)])
def test_a_delete_of_what_matches_names_its_receipt(client, namespace, receipt, params, kind, rows):
    add(client, namespace, {"id": "a", "session": "s", "tags": ["t"]}, {"id": "b", "session": "s"}, {"id": "c"})
    answer = client.delete("/v1/memory", params={"namespace": namespace} | params)
    body = answer.json()
    assert (answer.status_code, body["deleted"], body["refused"]) == (200, rows, 0)

    found = receipt(body["deletion_id"])

    assert (found["kind"], found["rows"], found["namespace"]) == (kind, rows, namespace)


def test_a_receipt_is_purged_in_the_end_and_the_command_agrees(server, client, namespace, receipt):
    add(client, namespace, {"id": "x"})
    deletion = client.delete("/v1/memory/x", params={"namespace": namespace}).headers[RECEIPT]
    company = client.get("/v1/whoami").json()["company"]

    with server.maintenance_of(company) as maintain:
        found = eventually(lambda: maintain() or ((now := receipt(deletion))["state"] == "purged" and now), every_s=0.2)

    assert [each["where"] for each in found["erased"]] == ["record store", "index shards"]
    assert {each["until"] for each in found["remains"]} == {None}
    status, out, err = run_here(server.folder, "verify-deleted", deletion)
    assert status == 0, out + err
    assert "purged" in out
    assert "NO" not in out
    assert run_here(server.folder, "verify-deleted", "del_unknown")[0] == 2


def test_a_namespaces_receipt_outlives_it_without_its_name(client, namespace, receipt, remember):
    remember("gone with the rest")
    answer = client.delete(f"/v1/namespaces/{namespace}")
    assert answer.status_code == 204

    found = receipt(answer.headers[RECEIPT])

    assert (found["kind"], found["namespace"], found["rows"]) == ("namespace", None, 1)
    assert [each["where"] for each in found["erased"]][:2] == ["record store", "keys"]
    assert namespace not in str(found)


def test_receipts_are_listed_newest_first(client, namespace):
    add(client, namespace, *({"id": f"m{number}"} for number in range(3)))
    made = [
        client.delete(f"/v1/memory/m{number}", params={"namespace": namespace}).headers[RECEIPT] for number in range(3)
    ]
    first = client.get("/v1/deletions", params={"namespace": namespace, "limit": 2}).json()
    rest = client.get("/v1/deletions", params={"namespace": namespace, "cursor": first["next_cursor"]}).json()
    assert [each["id"] for each in first["deletions"] + rest["deletions"]] == made[::-1]
    assert rest["next_cursor"] is None
    everywhere = client.get("/v1/deletions", params={"limit": 3}).json()
    assert [each["id"] for each in everywhere["deletions"]] == made[::-1]


def test_an_unknown_receipt_is_not_found(client):
    answer = client.get("/v1/deletions/del_unknown")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_a_deletion_that_was_cut_off_is_finished_by_the_worker(server_folder, monkeypatch):
    """The first process dies in the middle: its deletion is written down, and the server that starts then goes on."""
    from core.pipeline import forgetting
    from core.pipeline.forgetting import Conditions, delete_matching
    from core.records.control import open_control
    from core.settings import load_settings

    server = server_folder().start()
    add(server.client, "notes", *({"id": f"m{number}", "session": "s"} for number in range(3)))
    server.stop()

    class Died(BaseException): ...

    def die(*_) -> None:
        raise Died

    monkeypatch.setenv("XDG_CONFIG_HOME", str(server.folder / "config"))
    control = open_control(load_settings(None, {"storage": {"path": server.data}}))
    records = control.records(control.find_company("default").id)
    with monkeypatch.context() as dying:
        dying.setattr(forgetting, "erase", die)
        dying.setattr(forgetting, "_LEASE_US", 1_000)
        with pytest.raises(Died):
            delete_matching(records, records.namespace("notes"), Conditions(session="s"))
    control.close()

    server = server_folder().start()
    [begun] = server.client.get("/v1/deletions").json()["deletions"]
    finished = eventually(
        lambda: (now := server.client.get(f"/v1/deletions/{begun['id']}").json())["finished_at"] and now
    )
    assert finished["rows"] == 3
    assert server.client.get("/v1/memory", params={"namespace": "notes"}).json()["memories"] == []
    server.stop()

"""Bulk loads: NDJSON and lists, good lines accepted as one job, bad ones rejected by number."""

import json
from concurrent.futures import ThreadPoolExecutor

from core import limits


def lines(namespace, *contents):
    return "".join(json.dumps({"namespace": namespace, "content": content}) + "\n" for content in contents)


def test_ndjson_is_accepted_as_one_job(client, namespace, finished, find):
    body = lines(namespace, "Rivers run to the sea.", "Bread needs salt.", "The moon has no air.")
    response = client.post("/v1/memory/bulk", content=body, headers={"content-type": "application/x-ndjson"})
    assert response.status_code == 202
    assert response.json() == {"job_id": response.json()["job_id"], "accepted": 3, "rejected": []}
    job = finished(response.json()["job_id"])
    assert {name: job[name] for name in ("state", "accepted", "embedded", "indexed", "failed", "deleted")} == {
        "state": "indexed",
        "accepted": 3,
        "embedded": 3,
        "indexed": 3,
        "failed": 0,
        "deleted": 0,
    }
    assert find("what does bread need?", limit=1)[0]["content"] == "Bread needs salt."


def test_a_json_list_is_accepted_too(client, namespace, finished):
    body = [{"namespace": namespace, "content": f"note {number}", "id": f"n{number}"} for number in range(5)]
    response = client.post("/v1/memory/bulk", json=body)
    assert (response.status_code, response.json()["accepted"]) == (202, 5)
    finished(response.json()["job_id"])
    listed = client.get("/v1/memory", params={"namespace": namespace}).json()["memories"]
    assert [memory["id"] for memory in listed] == [item["id"] for item in body]


def test_bad_lines_are_rejected_by_number_and_the_others_kept(client, namespace, finished):
    good = lines(namespace, "kept").strip()
    body = "\n".join(
        [good, "{not json", "", json.dumps({"namespace": namespace}), json.dumps({"content": " "}), good, "[]"]
    )
    response = client.post("/v1/memory/bulk", content=body, headers={"content-type": "application/x-ndjson"})
    assert response.status_code == 202
    answer = response.json()
    assert answer["accepted"] == 2
    assert [(line["line"], line["code"]) for line in answer["rejected"]] == [
        (2, "malformed_json"),
        (4, "invalid_input"),
        (5, "invalid_input"),
        (7, "invalid_input"),
    ]
    assert answer["rejected"][1]["detail"].startswith("content: ")
    assert finished(answer["job_id"])["indexed"] == 2


def test_nothing_valid_is_refused(client, namespace):
    for body in ("", "\n \n", "{", f'{{"namespace": "{namespace}"}}\n', "[]", "[1]"):
        response = client.post("/v1/memory/bulk", content=body, headers={"content-type": "application/x-ndjson"})
        assert (response.status_code, response.json()["code"]) == (422, "nothing_accepted"), body
    assert client.get("/v1/memory", params={"namespace": namespace}).status_code == 404


def test_a_broken_list_is_malformed(client):
    response = client.post(
        "/v1/memory/bulk", content='[{"namespace": "a"', headers={"content-type": "application/json"}
    )
    assert (response.status_code, response.json()["code"]) == (400, "malformed_json")


def test_two_namespaces_in_one_call_are_refused_whole(client, namespace):
    body = lines(namespace, "a") + lines(f"{namespace}-other", "b")
    response = client.post("/v1/memory/bulk", content=body, headers={"content-type": "application/x-ndjson"})
    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] == "namespace"
    for name in (namespace, f"{namespace}-other"):
        assert client.get("/v1/memory", params={"namespace": name}).status_code == 404


def test_the_limit_of_lines_is_exact(client, namespace):
    line = json.dumps({"namespace": namespace, "content": "x"}) + "\n"
    too_many = client.post(
        "/v1/memory/bulk", content=line * (limits.BULK_ITEMS_MAX + 1), headers={"content-type": "application/x-ndjson"}
    )
    assert (too_many.status_code, too_many.json()["code"]) == (413, "too_large")
    assert client.get("/v1/memory", params={"namespace": namespace}).status_code == 404


def test_ten_thousand_memories_are_accepted_at_once_and_cancelled_by_their_namespace(client, namespace, finished):
    body = "".join(json.dumps({"namespace": namespace, "content": f"{number}"}) + "\n" for number in range(10_000))
    response = client.post("/v1/memory/bulk", content=body, headers={"content-type": "application/x-ndjson"})
    assert (response.status_code, response.json()["accepted"]) == (202, 10_000)
    assert client.delete(f"/v1/namespaces/{namespace}").status_code == 204
    job = finished(response.json()["job_id"])
    assert job["deleted"] == 10_000


def test_concurrent_loads_of_one_idempotency_key_are_one_job(client, namespace, finished):
    body = lines(namespace, *(f"entry {number}" for number in range(50)))
    headers = {"Idempotency-Key": "bulk-1", "content-type": "application/x-ndjson"}
    with ThreadPoolExecutor(6) as pool:
        answers = list(
            pool.map(lambda _: client.post("/v1/memory/bulk", content=body, headers=headers).json(), range(6))
        )
    assert len({answer["job_id"] for answer in answers}) == 1
    assert finished(answers[0]["job_id"])["indexed"] == 50
    page = client.get("/v1/memory", params={"namespace": namespace, "limit": 500}).json()
    assert len(page["memories"]) == 50

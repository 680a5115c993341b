"""Jobs and namespaces over HTTP: true counts, pages, retries, destruction."""

import pytest


def test_a_job_counts_its_memories_at_the_end(client, namespace, finished):
    added = client.post("/v1/memory", json={"namespace": namespace, "content": "counted"}).json()
    job = finished(added["job_id"])
    assert (job["id"], job["namespace"], job["state"]) == (added["job_id"], namespace, "indexed")
    assert (job["accepted"], job["embedded"], job["indexed"], job["failed"], job["deleted"]) == (1, 1, 1, 0, 0)
    assert job["errors"] == []
    assert job["finished_at"] >= job["created_at"]


def test_jobs_are_listed_newest_first_in_pages(client, namespace):
    body = {"namespace": namespace, "content": "x"}
    made = [client.post("/v1/memory", json=body).json()["job_id"] for _ in range(5)]
    first = client.get("/v1/jobs", params={"limit": 3}).json()
    second = client.get("/v1/jobs", params={"limit": 2, "cursor": first["next_cursor"]}).json()
    assert [job["id"] for job in first["jobs"] + second["jobs"]] == made[::-1]


def test_jobs_are_listed_by_state(client, namespace, remember):
    job = remember("done")["job_id"]
    found = {
        state: [each["id"] for each in client.get("/v1/jobs", params={"state": state}).json()["jobs"]]
        for state in ("pending", "embedding", "indexing", "indexed", "failed")
    }
    assert job in found.pop("indexed")
    assert job not in [each for ids in found.values() for each in ids]


def test_retrying_a_job_without_failures_changes_nothing(client, remember):
    job = remember("fine")["job_id"]
    before = client.get(f"/v1/jobs/{job}").json()
    retried = client.post(f"/v1/jobs/{job}/retry")
    assert (retried.status_code, retried.json()) == (200, before)


@pytest.mark.parametrize("path", ["/v1/jobs/job_none", "/v1/jobs/a%2Fb", "/v1/jobs/%00"])
def test_an_unknown_job_is_not_found(client, path):
    answer = client.get(path)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (404, "job_id")
    assert client.post(f"{path}/retry").status_code == 404


def test_a_namespace_in_numbers(client, namespace, remember):
    remember("one")
    remember("two", id="two")
    remember("two again", id="two")
    body = client.get(f"/v1/namespaces/{namespace}").json()
    assert (body["name"], body["memories"], body["states"]["indexed"]) == (namespace, 3, 3)
    assert body["id"].startswith("ns_")
    assert body["shards"] >= 1
    assert body["bytes"] > 0
    assert body["generation"] >= 1
    assert body["model"].startswith("all-MiniLM-L6-v2")
    listed = {each["name"]: each for each in client.get("/v1/namespaces").json()["namespaces"]}
    assert listed[namespace] == body


def test_creating_a_namespace_twice_is_one_namespace(client, namespace):
    first = client.put(f"/v1/namespaces/{namespace}")
    second = client.put(f"/v1/namespaces/{namespace}")
    assert (first.status_code, first.json()) == (200, second.json())


def test_a_destroyed_namespace_is_gone_and_its_name_free(client, namespace, remember, find):
    remember("old content", id="m")
    old = client.get(f"/v1/namespaces/{namespace}").json()["id"]
    assert client.delete(f"/v1/namespaces/{namespace}").status_code == 204
    search = {"namespace": namespace, "query": "old content"}
    assert client.get("/v1/memory/search", params=search).status_code == 404
    assert client.get("/v1/memory/m", params={"namespace": namespace}).status_code == 404
    assert client.delete(f"/v1/namespaces/{namespace}").status_code == 404
    remember("new content")
    assert client.get(f"/v1/namespaces/{namespace}").json()["id"] != old
    assert [hit["content"] for hit in find("content")] == ["new content"]


@pytest.mark.parametrize("name", ["team/agent", "日本語", "a b", "100%25", "search"])
def test_every_accepted_namespace_can_be_named_in_a_path(client, namespace, name):
    from urllib.parse import quote

    path = f"/v1/namespaces/{quote(f'{namespace} {name}', safe='')}"
    assert client.put(path).json()["name"] == f"{namespace} {name}"
    assert client.get(path).status_code == 200
    assert client.delete(path).status_code == 204

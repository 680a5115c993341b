"""Writing one memory over HTTP: durable at once, searchable a moment later, once only under an idempotency key."""

from concurrent.futures import ThreadPoolExecutor


def test_an_added_memory_is_pending_and_readable_at_once(client, namespace):
    response = client.post("/v1/memory", json={"namespace": namespace, "content": "Ada likes tea."})
    assert response.status_code == 202
    answer = response.json()
    assert set(answer) == {"id", "job_id", "state"}
    assert answer["state"] == "pending"
    assert answer["id"].startswith("mem_")
    memory = client.get(f"/v1/memory/{answer['id']}", params={"namespace": namespace})
    assert memory.status_code == 200
    assert memory.json()["content"] == "Ada likes tea."


def test_waiting_answers_201_once_it_is_searchable(client, namespace, find):
    response = client.post(
        "/v1/memory", params={"wait": True}, json={"namespace": namespace, "content": "The kettle is in room 12."}
    )
    assert response.status_code == 201
    assert response.json()["state"] == "indexed"
    assert [hit["id"] for hit in find("where is the kettle?")] == [response.json()["id"]]


def test_every_field_comes_back_as_it_was_sent(client, namespace, remember):
    given = {
        "id": "my own id",
        "metadata": {"customer": {"id": 17, "plan": "pro"}, "flags": [True, None, 1.5]},
        "session": "ticket-4821",
        "tags": ["a", "b"],
        "importance": 0.25,
        "occurred_at": "2026-03-14T18:30:00Z",
        "ttl_seconds": 3600,
    }
    answer = remember("Ada prefers replies in the evening.", **given)
    assert answer["id"] == "my own id"
    memory = client.get("/v1/memory/my own id", params={"namespace": namespace}).json()
    for name in ("id", "metadata", "session", "tags", "importance"):
        assert memory[name] == given[name]
    assert memory["occurred_at"].startswith("2026-03-14T18:30:00")
    assert memory["version"] == 1
    assert memory["state"] == "indexed"
    assert memory["expires_at"] > memory["created_at"]


def test_the_same_id_again_is_a_new_version(client, namespace, remember, find):
    remember("The door code is 1111.", id="door")
    remember("The door code is 2222.", id="door")
    hits = find("door code")
    assert [(hit["id"], hit["content"], hit["version"]) for hit in hits] == [("door", "The door code is 2222.", 2)]


def test_superseding_takes_the_other_out_of_the_present(client, namespace, remember, find):
    old = remember("Ada lives in Paris.")["id"]
    new = remember("Ada lives in Rome.", supersedes=old)["id"]
    assert [hit["id"] for hit in find("where does Ada live?")] == [new]
    assert client.get(f"/v1/memory/{old}", params={"namespace": namespace}).status_code == 404


def test_an_expired_memory_is_not_answered(client, namespace, remember, find):
    from tests.integration.processes import eventually

    answer = remember("Valid for a second only.", ttl_seconds=1)
    eventually(lambda: client.get(f"/v1/memory/{answer['id']}", params={"namespace": namespace}).status_code == 404)
    assert find("valid for a second") == []


def test_an_idempotency_key_makes_one_write_of_many(client, namespace):
    body, headers = {"namespace": namespace, "content": "Once."}, {"Idempotency-Key": "k-1"}
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: client.post("/v1/memory", json=body, headers=headers), range(16)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.text for answer in answers}) == 1
    listed = client.get("/v1/memory", params={"namespace": namespace}).json()["memories"]
    assert [memory["id"] for memory in listed] == [answers[0].json()["id"]]


def test_an_idempotency_key_for_another_body_is_a_conflict(client, namespace):
    headers = {"Idempotency-Key": "k-2"}
    assert client.post("/v1/memory", json={"namespace": namespace, "content": "a"}, headers=headers).status_code == 202
    other = client.post("/v1/memory", json={"namespace": namespace, "content": "b"}, headers=headers)
    assert other.status_code == 409
    assert (other.json()["code"], other.json()["errors"][0]["field"]) == ("conflict", "Idempotency-Key")


def test_idempotency_keys_of_two_namespaces_do_not_meet(client, namespace):
    headers = {"Idempotency-Key": "k-3"}
    for name in (namespace, f"{namespace}-b"):
        answer = client.post("/v1/memory", json={"namespace": name, "content": "a"}, headers=headers)
        assert answer.status_code == 202


def test_a_repeated_bulk_load_gets_its_first_answer(client, namespace, finished):
    body = f'{{"namespace": "{namespace}", "content": "x"}}\n{{"namespace": "{namespace}"}}\n'
    answers = [
        client.post(
            "/v1/memory/bulk", content=body, headers={"Idempotency-Key": "k-4", "content-type": "application/x-ndjson"}
        ).json()
        for _ in range(2)
    ]
    assert answers[0] == answers[1]
    assert answers[0]["accepted"] == 1
    assert [line["line"] for line in answers[0]["rejected"]] == [2]
    assert finished(answers[0]["job_id"])["indexed"] == 1

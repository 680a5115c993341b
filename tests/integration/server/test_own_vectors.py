"""Vectors of the caller's own over REST: how to learn what they must be, what comes of them."""

import base64
import json

import pytest

NDJSON = {"content-type": "application/x-ndjson"}


@pytest.fixture
def space(client, namespace):
    return client.put(f"/v1/namespaces/{namespace}").json()["embedding"]


def packed(vector):
    return base64.b64encode(vector.astype("<f4").tobytes()).decode()


def test_the_namespace_says_what_vectors_must_be(space, embedder):
    assert space == {"fingerprint": embedder.fingerprint, "dim": embedder.dim}


def test_lines_with_vectors_are_indexed_without_being_embedded(client, namespace, space, embedder, finished, find):
    texts = ["How whales sleep", "The price of copper", "Rain in April"]
    vectors = [each[0] for each in embedder.embed_passages(texts)]
    lines = [
        {
            "namespace": namespace,
            "content": f"Annex {number}.",
            "embedding": {"fingerprint": space["fingerprint"], "vector": packed(vector)},
        }
        for number, vector in enumerate(vectors)
    ]
    lines[1]["embedding"]["vector"] = (vectors[1] * 7).tolist()
    body = "\n".join(map(json.dumps, lines))
    answer = client.post("/v1/memory/bulk", content=body, headers=NDJSON).json()
    job = finished(answer["job_id"])
    assert (job["state"], job["accepted"], job["indexed"]) == ("indexed", 3, 3)
    for number, query in enumerate(["sleeping whales", "copper's price", "April rain"]):
        [hit] = find(query, mode="vector", limit=1)
        assert hit["content"] == f"Annex {number}."


def test_a_single_memory_may_bring_one(client, namespace, space, embedder):
    [vector] = embedder.embed_passages(["How whales sleep"])[0]
    memory = {
        "namespace": namespace,
        "content": "Annex.",
        "embedding": {"fingerprint": space["fingerprint"], "vector": packed(vector)},
    }
    added = client.post("/v1/memory", params={"wait": True}, json=memory)
    assert (added.status_code, added.json()["state"]) == (201, "indexed")
    memory["embedding"]["fingerprint"] = "another:int8:0"
    refused = client.post("/v1/memory", json=memory)
    assert (refused.status_code, refused.json()["code"]) == (422, "fingerprint_mismatch")
    assert space["fingerprint"] in refused.json()["detail"]


def test_wrong_vectors_are_faults_of_their_lines(client, namespace, space):
    given = [
        {"fingerprint": "another:int8:0", "vector": [1.0] * space["dim"]},
        {"fingerprint": space["fingerprint"], "vector": [1.0] * (space["dim"] + 1)},
        {"fingerprint": space["fingerprint"], "vector": [0.0] * space["dim"]},
    ]
    lines = [{"namespace": namespace, "content": "x", "embedding": each} for each in given]
    body = "\n".join(map(json.dumps, [*lines, {"namespace": namespace, "content": "kept"}]))
    answer = client.post("/v1/memory/bulk", content=body, headers=NDJSON).json()
    assert answer["accepted"] == 1
    assert [(each["line"], each["code"]) for each in answer["rejected"]] == [
        (1, "fingerprint_mismatch"),
        (2, "invalid_vector"),
        (3, "invalid_vector"),
    ]


def test_an_answer_says_that_it_repeats_another(client, namespace):
    line = json.dumps({"namespace": namespace, "content": "once"})
    for path, kind in (("/v1/memory", "application/json"), ("/v1/memory/bulk", "application/x-ndjson")):
        headers = {"Idempotency-Key": f"{namespace}{path}", "content-type": kind}
        first, second = (client.post(path, content=line, headers=headers) for _ in range(2))
        assert "Idempotent-Replayed" not in first.headers
        assert second.headers["Idempotent-Replayed"] == "true"
        assert second.json() == first.json()

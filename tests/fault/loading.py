"""Memories that can be told apart, and the check that each is there once."""

import json
from typing import Any

import httpx


def text_of(number: int) -> str:
    return f"The word of entry {number} is word{number}x."


def load(client: httpx.Client, count: int, first: int = 0, namespace: str = "audited") -> str:
    """Write memories in bulk, each with a word of its own, and return the job."""
    rows = [
        {"namespace": namespace, "id": f"m{number}", "content": text_of(number)}
        for number in range(first, first + count)
    ]
    response = client.post(
        "/v1/memory/bulk", content="\n".join(map(json.dumps, rows)), headers={"content-type": "application/x-ndjson"}
    )
    assert response.status_code == 202, response.text
    assert response.json()["accepted"] == count
    return response.json()["job_id"]


def progress(client: httpx.Client, job_id: str) -> dict[str, Any]:
    return client.get(f"/v1/jobs/{job_id}").json()


def found_once(client: httpx.Client, count: int, sample: int = 40, namespace: str = "audited") -> None:
    """Every memory is listed once, in order; those of a sample are each found once, by their word."""
    seen, cursor = [], None
    while True:
        params = {"namespace": namespace, "limit": 500} | ({"cursor": cursor} if cursor else {})
        page = client.get("/v1/memory", params=params).json()
        seen += [memory["id"] for memory in page["memories"]]
        if (cursor := page["next_cursor"]) is None:
            break
    assert seen == [f"m{number}" for number in range(count)]
    for number in {round(step * (count - 1) / (sample - 1)) for step in range(sample)}:
        by_word = {"query": f"word{number}x", "mode": "text"}
        by_meaning = {"query": text_of(number), "mode": "vector"}
        for question in (by_word, by_meaning):
            body = {"namespace": namespace, **question}
            hits = [hit["id"] for hit in client.post("/v1/memory/search", json=body).json()["results"]]
            assert hits[0] == f"m{number}", question
            assert len(hits) == (1 if question is by_word else len(set(hits)))

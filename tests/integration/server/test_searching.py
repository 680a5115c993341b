"""Searching over HTTP: both calls, every mode and condition, points in time, reading one's own writes."""

import json
from datetime import UTC, datetime, timedelta

import pytest

CITY = [
    ("Ada moved to Lisbon in spring.", {"kind": "fact", "n": 1}, "s1", ["home", "city"], "2026-01-01T00:00:00Z"),
    ("Ada's flat is near the river.", {"kind": "fact", "n": 2}, "s1", ["home"], "2026-02-01T00:00:00Z"),
    ("The deploy to us-east-1 failed with ERR_4821.", {"kind": "log", "n": 3}, "s2", [], "2026-03-01T00:00:00Z"),
    ("The deploy to us-east-2 went well.", {"kind": "log", "n": 4}, "s2", ["ok"], "2026-04-01T00:00:00Z"),
]


@pytest.fixture
def city(client, namespace, finished):
    """Four memories; their ids in order."""
    rows = [
        {
            "namespace": namespace,
            "id": f"m{number}",
            "content": content,
            "metadata": metadata,
            "session": session,
            "tags": tags,
            "occurred_at": occurred_at,
        }
        for number, (content, metadata, session, tags, occurred_at) in enumerate(CITY, start=1)
    ]
    finished(client.post("/v1/memory/bulk", json=rows).json()["job_id"])
    return namespace


def ids(results):
    return {hit["id"] for hit in results}


@pytest.mark.parametrize("mode", ["hybrid", "vector", "text"])
def test_each_mode_finds_by_both_calls(client, city, find, mode):
    by_body = find("deploy failed ERR_4821", mode=mode, limit=2)
    params = {"namespace": city, "query": "deploy failed ERR_4821", "mode": mode, "limit": 2}
    by_url = client.get("/v1/memory/search", params=params).json()["results"]
    assert by_body == by_url
    assert by_body[0]["id"] == "m3"
    assert (by_body[0]["similarity"] is None) == (mode == "text")


def test_exact_tokens_match_exactly(city, find):
    assert ids(find("us-east-1", mode="text")) == {"m3"}
    assert ids(find("ERR_4821", mode="text")) == {"m3"}
    assert ids(find("ERR_4822", mode="text")) == set()


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ({"filter": {"kind": "fact"}}, {"m1", "m2"}),
        ({"filter": {"kind": {"ne": "fact"}}}, {"m3", "m4"}),
        ({"filter": {"n": {"in": [1, 4]}}}, {"m1", "m4"}),
        ({"filter": {"n": {"gt": 1, "lte": 3}}}, {"m2", "m3"}),
        ({"filter": {"n": {"gte": 2, "lt": 3}}}, {"m2"}),
        ({"filter": {"n": {"exists": False}}}, set()),
        ({"filter": {"kind": {"contains": "ac"}}}, {"m1", "m2"}),
        ({"filter": {"or": [{"n": 1}, {"not": {"kind": "fact"}}]}}, {"m1", "m3", "m4"}),
        ({"filter": {"and": [{"kind": "log"}, {"n": 3}]}}, {"m3"}),
        ({"session": "s1"}, {"m1", "m2"}),
        ({"session": "s9"}, set()),
        ({"tags": ["home"]}, {"m1", "m2"}),
        ({"tags": ["home", "city"]}, {"m1"}),
        ({"since": "2026-03-01T00:00:00Z"}, {"m3", "m4"}),
        ({"until": "2026-03-01T00:00:00Z"}, {"m1", "m2"}),
        ({"since": "2026-02-01T01:00:00+01:00", "until": "2026-03-01T00:00:00Z"}, {"m2"}),
        ({"session": "s2", "tags": ["ok"], "filter": {"n": 4}}, {"m4"}),
    ],
)
@pytest.mark.parametrize("mode", ["hybrid", "vector"])
def test_conditions_are_applied_inside_the_arms(city, find, condition, expected, mode):
    assert ids(find("Ada deploy", mode=mode, **condition)) == expected


def test_the_url_takes_the_simple_conditions(client, city):
    params = {"namespace": city, "query": "Ada", "session": "s1", "tags": ["home", "city"], "mode": "vector"}
    assert ids(client.get("/v1/memory/search", params=params).json()["results"]) == {"m1"}
    params = {"namespace": city, "query": "Ada", "since": "2026-04-01T00:00:00Z", "mode": "vector"}
    assert ids(client.get("/v1/memory/search", params=params).json()["results"]) == {"m4"}


def test_the_limit_bounds_the_answer(find, city):
    assert len(find("Ada", mode="vector", limit=1)) == 1
    assert len(find("Ada", mode="vector", limit=100)) == len(CITY)


def test_explain_tells_ranks_scores_and_times(client, city):
    body = {"namespace": city, "query": "deploy us-east-1", "explain": True}
    answer = client.post("/v1/memory/search", json=body).json()
    best = answer["results"][0]
    assert best["id"] == "m3"
    assert set(best["explain"]) == {"vector", "text"}
    assert best["explain"]["text"]["rank"] == 1
    assert {"embed", "vector", "text", "fuse", "hydrate"} <= set(answer["parts_ms"])
    plain = client.post("/v1/memory/search", json=body | {"explain": False}).json()
    assert plain["parts_ms"] is None
    assert plain["results"][0]["explain"] is None


def test_as_of_answers_with_what_was_known_then(client, namespace, remember, find):
    first = remember("The office is in Rome.", id="office")
    assert first["state"] == "indexed"
    then = client.get("/v1/memory/office", params={"namespace": namespace}).json()["created_at"]
    remember("The office is in Oslo.", id="office")
    assert [hit["content"] for hit in find("where is the office?")] == ["The office is in Oslo."]
    assert [hit["content"] for hit in find("where is the office?", as_of=then)] == ["The office is in Rome."]
    before = (datetime.fromisoformat(then) - timedelta(seconds=1)).astimezone(UTC).isoformat()
    assert find("where is the office?", as_of=before) == []


def test_after_job_reads_ones_own_write(client, namespace, find):
    added = client.post("/v1/memory", json={"namespace": namespace, "content": "Fresh as dew."}).json()
    hits = find("dew", after_job=added["job_id"], wait_ms=30_000)
    assert [hit["id"] for hit in hits] == [added["id"]]


def test_a_selective_filter_still_fills_the_limit(client, namespace, finished, find):
    rows = [
        {"namespace": namespace, "content": f"entry {number} on trains", "metadata": {"rare": number % 60 == 0}}
        for number in range(600)
    ]
    finished(
        client.post(
            "/v1/memory/bulk",
            content="\n".join(map(json.dumps, rows)),
            headers={"content-type": "application/x-ndjson"},
        ).json()["job_id"]
    )
    assert len(find("trains", filter={"rare": True}, limit=10)) == 10
    assert {hit["metadata"]["rare"] for hit in find("entry 1 on trains", filter={"rare": True})} == {True}


def test_searching_an_empty_namespace_finds_nothing(client, namespace, find):
    assert client.put(f"/v1/namespaces/{namespace}").status_code == 200
    for mode in ("hybrid", "vector", "text"):
        assert find("anything", mode=mode) == []

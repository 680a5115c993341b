"""Patching, deleting, reading back: versions, history, pages."""

import json

import pytest


@pytest.fixture
def at(client, namespace):
    """Call a path under /v1/memory in this namespace."""

    def call(method, path="", **more):
        params = {"namespace": namespace} | more.pop("params", {})
        return client.request(method, f"/v1/memory{path}", params=params, **more)

    return call


def test_a_patch_changes_what_it_names_and_keeps_the_rest(at, remember, find):
    remember("Bo drinks coffee.", id="bo", tags=["a"], session="s", metadata={"k": 1}, importance=0.5)
    patched = at("PATCH", "/bo", json={"content": "Bo drinks tea.", "tags": ["b"]})
    assert patched.status_code == 200
    body = patched.json()
    assert (body["content"], body["tags"], body["session"], body["metadata"]) == (
        "Bo drinks tea.",
        ["b"],
        "s",
        {"k": 1},
    )
    assert (body["version"], body["importance"]) == (2, 0.5)
    assert [hit["content"] for hit in find("what does Bo drink?")] == ["Bo drinks tea."]


def test_a_patch_with_null_clears_a_field(at, remember):
    remember("Plain.", id="p", tags=["a"], session="s", metadata={"k": 1}, importance=0.5, ttl_seconds=100)
    cleared = at("PATCH", "/p", json=dict.fromkeys(["tags", "session", "metadata", "importance", "ttl_seconds"]))
    assert cleared.status_code == 200
    body = cleared.json()
    assert (body["tags"], body["session"], body["metadata"], body["importance"]) == ([], None, {}, None)
    assert body["expires_at"] is None


def test_concurrent_patches_leave_one_line_of_versions(at, remember):
    from concurrent.futures import ThreadPoolExecutor

    remember("v1", id="race")
    with ThreadPoolExecutor(4) as pool:
        codes = list(pool.map(lambda n: at("PATCH", "/race", json={"metadata": {"n": n}}).status_code, range(4)))
    assert set(codes) <= {200, 409}
    versions = at("GET", "/race/history").json()
    assert [version["version"] for version in versions] == list(range(1, codes.count(200) + 2))
    assert [version["closed_at"] is None for version in versions] == [False] * codes.count(200) + [True]


def test_history_shows_every_version_oldest_first(at, remember):
    for text in ("one", "two", "three"):
        remember(text, id="h")
    versions = at("GET", "/h/history").json()
    assert [version["content"] for version in versions] == ["one", "two", "three"]
    assert [version["closed_at"] is None for version in versions] == [False, False, True]


def test_a_delete_is_final_at_its_answer(at, remember, find):
    remember("The secret is 42.", id="secret")
    remember("The secret is 43.", id="secret")
    assert at("DELETE", "/secret").status_code == 204
    assert find("secret") == []
    for path in ("/secret", "/secret/history"):
        assert at("GET", path).status_code == 404
    assert at("DELETE", "/secret").status_code == 404
    assert at("PATCH", "/secret", json={"tags": []}).status_code == 404
    assert at("GET").json()["memories"] == []


def test_a_memory_deleted_before_it_was_indexed_never_appears(client, namespace, at, finished, find):
    added = client.post("/v1/memory", json={"namespace": namespace, "content": "Never to be seen."}).json()
    assert at("DELETE", f"/{added['id']}").status_code == 204
    job = finished(added["job_id"])
    assert (job["deleted"], job["indexed"]) == (1, 0)
    assert find("never to be seen") == []


def test_a_deleted_id_may_be_used_again(at, remember, find):
    remember("old life", id="phoenix")
    at("DELETE", "/phoenix")
    remember("new life", id="phoenix")
    assert [hit["content"] for hit in find("life")] == ["new life"]
    assert [version["version"] for version in at("GET", "/phoenix/history").json()] == [1]


@pytest.mark.parametrize(
    ("params", "left"),
    [
        ({"session": "s1"}, {"c", "d"}),
        ({"tags": ["x"]}, {"b", "d"}),
        ({"tags": ["x", "y"]}, {"a", "b", "d"}),
        ({"filter": json.dumps({"n": {"gte": 3}})}, {"a", "b"}),
        ({"session": "s1", "filter": json.dumps({"n": 2})}, {"a", "c", "d"}),
    ],
)
def test_deleting_what_matches(client, namespace, at, finished, find, params, left):
    rows = [
        {"namespace": namespace, "id": "a", "content": "apple", "session": "s1", "tags": ["x"], "metadata": {"n": 1}},
        {"namespace": namespace, "id": "b", "content": "apple", "session": "s1", "tags": [], "metadata": {"n": 2}},
        {"namespace": namespace, "id": "c", "content": "apple", "tags": ["x", "y"], "metadata": {"n": 3}},
        {"namespace": namespace, "id": "d", "content": "apple", "tags": ["y"], "metadata": {"n": 4}},
    ]
    finished(client.post("/v1/memory/bulk", json=rows).json()["job_id"])
    deleted = at("DELETE", params=params)
    body = deleted.json()
    assert (deleted.status_code, body["deleted"], body["refused"]) == (200, 4 - len(left), 0)
    assert {hit["id"] for hit in find("apple", limit=100)} == left
    assert {memory["id"] for memory in at("GET").json()["memories"]} == left


def test_deleting_without_a_condition_is_refused(at, remember):
    remember("stays", id="stays")
    refused = at("DELETE")
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "filter")
    assert at("GET", "/stays").status_code == 200


@pytest.mark.parametrize("limit", [1, 3, 7, 500])
def test_pages_hold_every_memory_once_in_order(client, namespace, at, limit):
    rows = [{"namespace": namespace, "id": f"p{number}", "content": f"page {number}"} for number in range(7)]
    client.post("/v1/memory/bulk", json=rows)
    seen, cursor = [], None
    while True:
        page = at("GET", params={"limit": limit} | ({"cursor": cursor} if cursor else {})).json()
        assert len(page["memories"]) <= limit
        seen += [memory["id"] for memory in page["memories"]]
        if (cursor := page["next_cursor"]) is None:
            break
    assert seen == [row["id"] for row in rows]


def test_a_list_of_one_session(client, namespace, at):
    rows = [{"namespace": namespace, "id": f"p{n}", "content": "x", "session": f"s{n % 2}"} for n in range(6)]
    client.post("/v1/memory/bulk", json=rows)
    page = at("GET", params={"session": "s1", "limit": 2}).json()
    assert [memory["id"] for memory in page["memories"]] == ["p1", "p3"]
    rest = at("GET", params={"session": "s1", "cursor": page["next_cursor"]}).json()
    assert ([memory["id"] for memory in rest["memories"]], rest["next_cursor"]) == (["p5"], None)


@pytest.mark.parametrize("name", ["a/b", "https://example.com/x?y=1#z", "a b", "ü", "100%", "history", "..", "a+b;c"])
def test_every_accepted_id_can_be_read_changed_and_deleted_by_its_url(at, remember, name):
    from urllib.parse import quote

    remember("named", id=name)
    path = "/" + quote(name, safe="").replace(".", "%2E")
    assert at("GET", path).status_code == 200
    assert at("GET", f"{path}/history").status_code == 200
    assert at("PATCH", path, json={"tags": ["t"]}).status_code == 200
    assert at("DELETE", path).status_code == 204


def test_an_id_typed_in_another_normal_form_is_the_same(at, remember):
    remember("named", id="caf\u00e9", session="caf\u00e9", tags=["caf\u00e9"])
    assert at("GET", "/cafe\u0301").status_code == 200
    assert at("DELETE", params={"session": "cafe\u0301", "tags": ["cafe\u0301"]}).json()["deleted"] == 1

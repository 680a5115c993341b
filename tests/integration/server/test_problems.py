"""Every error over HTTP is a problem document with a stable code, and names the field at fault."""

import json

import pytest

from core import limits

SURROGATE = "\\ud800"  # as JSON spells a lone one


def body(**fields):
    return {"namespace": "problems", "content": "x"} | fields


def search(**fields):
    return {"namespace": "problems", "query": "x"} | fields


def deep(levels):
    return {"a": deep(levels - 1)} if levels else 1


def nested_filter(levels):
    return {"not": nested_filter(levels - 1)} if levels else {"a": 1}


LONG = "n" * (limits.NAME_CHARS_MAX + 1)
EURO = "€"  # three bytes

ADD = [
    (b"{", 400, "malformed_json", None),
    (b"\xff\xfe", 400, "malformed_json", None),
    (b"", 400, "malformed_json", "body"),
    (b"[]", 422, "invalid_input", "body"),
    (b"null", 422, "invalid_input", "body"),
    (b'"text"', 422, "invalid_input", "body"),
    (body(colour="red"), 422, "invalid_input", "colour"),
    ({"namespace": "problems"}, 422, "invalid_input", "content"),
    ({"content": "x"}, 422, "invalid_input", "namespace"),
    (body(content=""), 422, "invalid_input", "content"),
    (body(content=" \n\t\u2003"), 422, "invalid_input", "content"),
    (body(content=7), 422, "invalid_input", "content"),
    (body(content="x" * (limits.CONTENT_BYTES_MAX + 1)), 422, "invalid_input", "content"),
    (body(content=EURO * (limits.CONTENT_BYTES_MAX // 3 + 1)), 422, "invalid_input", "content"),
    (f'{{"namespace": "problems", "content": "{SURROGATE}"}}'.encode(), 400, "malformed_json", None),
    (f'{{"namespace": "{SURROGATE}", "content": "x"}}'.encode(), 400, "malformed_json", None),
    (f'{{"namespace": "problems", "content": "x", "{SURROGATE}": 1}}'.encode(), 400, "malformed_json", None),
    (
        f'{{"namespace": "problems", "content": "x", "metadata": {{"{SURROGATE}": 1}}}}'.encode(),
        400,
        "malformed_json",
        None,
    ),
    (
        f'{{"namespace": "problems", "content": "x", "metadata": {{"a": "{SURROGATE}"}}}}'.encode(),
        400,
        "malformed_json",
        None,
    ),
    (body(namespace=""), 422, "invalid_input", "namespace"),
    (body(namespace=" a"), 422, "invalid_input", "namespace"),
    (body(namespace="a\nb"), 422, "invalid_input", "namespace"),
    (body(namespace="a\x00"), 422, "invalid_input", "namespace"),
    (body(namespace=LONG), 422, "invalid_input", "namespace"),
    (body(id=LONG), 422, "invalid_input", "id"),
    (body(id=""), 422, "invalid_input", "id"),
    (body(session="a\x07"), 422, "invalid_input", "session"),
    (body(tags=["a", ""]), 422, "invalid_input", "tags.1"),
    (body(tags=["t" * (limits.TAG_CHARS_MAX + 1)]), 422, "invalid_input", "tags.0"),
    (body(tags=[str(n) for n in range(limits.TAGS_MAX + 1)]), 422, "invalid_input", "tags"),
    (body(tags="a"), 422, "invalid_input", "tags"),
    (body(metadata=deep(limits.METADATA_DEPTH_MAX + 1)), 422, "invalid_input", "metadata"),
    (body(metadata={"": 1}), 422, "invalid_input", "metadata"),
    (body(metadata={"a": 2**53}), 422, "invalid_input", "metadata"),
    (body(metadata={"a": "x" * limits.METADATA_BYTES_MAX}), 422, "invalid_input", "metadata"),
    (body(metadata={str(n): n for n in range(limits.METADATA_VALUES_MAX + 1)}), 422, "invalid_input", "metadata"),
    (body(metadata=[]), 422, "invalid_input", "metadata"),
    (b'{"namespace": "problems", "content": "x", "metadata": {"a": NaN}}', 422, "invalid_input", "metadata"),
    (b'{"namespace": "problems", "content": "x", "metadata": {"a": -Infinity}}', 422, "invalid_input", "metadata"),
    (b'{"namespace": "problems", "content": "x", "metadata": {"a": 1e999}}', 422, "invalid_input", "metadata"),
    (
        b'{"namespace": "problems", "content": "x", "metadata": {"a": ' + b"9" * 400 + b"}}",
        422,
        "invalid_input",
        "metadata",
    ),
    (
        b'{"namespace": "problems", "content": "x", "metadata": {"a": ' + b"9" * 5000 + b"}}",
        400,
        "malformed_json",
        None,
    ),
    (
        b'{"namespace": "problems", "content": "x", "metadata": ' + b'{"a":' * 30_000 + b"1" + b"}" * 30_001,
        400,
        "malformed_json",
        None,
    ),
    (body(importance=1.5), 422, "invalid_input", "importance"),
    (b'{"namespace": "problems", "content": "x", "importance": NaN}', 422, "invalid_input", "importance"),
    (body(occurred_at="yesterday"), 422, "invalid_input", "occurred_at"),
    (body(occurred_at="2026-01-01T00:00:00"), 422, "invalid_input", "occurred_at"),
    (body(occurred_at=1_700_000_000), 422, "invalid_input", "occurred_at"),
    (body(occurred_at="2026-13-01T00:00:00Z"), 422, "invalid_input", "occurred_at"),
    (body(ttl_seconds=0), 422, "invalid_input", "ttl_seconds"),
    (body(ttl_seconds=limits.TTL_SECONDS_MAX + 1), 422, "invalid_input", "ttl_seconds"),
    (body(ttl_seconds=10**400), 422, "invalid_input", "ttl_seconds"),
    (body(id="a", supersedes="a"), 422, "invalid_input", None),
]

SEARCH = [
    (search(query=""), 422, "invalid_input", "query"),
    (search(query="q" * (limits.QUERY_CHARS_MAX + 1)), 422, "invalid_input", "query"),
    (search(limit=0), 422, "invalid_input", "limit"),
    (search(limit=limits.SEARCH_LIMIT_MAX + 1), 422, "invalid_input", "limit"),
    (search(mode="magic"), 422, "invalid_input", "mode"),
    (search(since="soon"), 422, "invalid_input", "since"),
    (search(wait_ms=limits.WAIT_MS_MAX + 1), 422, "invalid_input", "wait_ms"),
    (search(after_job="job_none"), 404, "not_found", "job_id"),
    (search(filter={}), 422, "invalid_input", "filter"),
    (search(filter=[]), 422, "invalid_input", "filter"),
    (search(filter={"a": {}}), 422, "invalid_input", "filter.a"),
    (search(filter={"a": {"like": "x"}}), 422, "invalid_input", "filter.a.like"),
    (search(filter={"a": {"in": 1}}), 422, "invalid_input", "filter.a.in"),
    (search(filter={"a": {"in": list(range(limits.FILTER_LIST_MAX + 1))}}), 422, "invalid_input", "filter.a.in"),
    (search(filter={"a": {"gt": True}}), 422, "invalid_input", "filter.a.gt"),
    (search(filter={"a": {"eq": [1]}}), 422, "invalid_input", "filter.a.eq"),
    (search(filter={"a": 2**53}), 422, "invalid_input", "filter.a"),
    (search(filter={"a": {"exists": 1}}), 422, "invalid_input", "filter.a.exists"),
    (search(filter={"and": []}), 422, "invalid_input", "filter.and"),
    (search(filter={"or": [{"a": 1}, 2]}), 422, "invalid_input", "filter.or[1]"),
    (search(filter=nested_filter(limits.FILTER_DEPTH_MAX)), 422, "invalid_input", None),
    (search(filter={str(n): n for n in range(limits.FILTER_NODES_MAX)}), 422, "invalid_input", None),
    (f'{{"namespace": "problems", "query": "x", "filter": {{"{SURROGATE}": 1}}}}'.encode(), 422, "invalid_input", None),
    (
        f'{{"namespace": "problems", "query": "x", "filter": {{"a": "{SURROGATE}"}}}}'.encode(),
        422,
        "invalid_input",
        None,
    ),
    (f'{{"namespace": "problems", "query": "{SURROGATE}"}}'.encode(), 422, "invalid_input", "query"),
    (search(namespace="unknown"), 404, "not_found", "namespace"),
]

CALLS = [
    ("GET", "/v1/nowhere", 404, "no_such_route", None),
    ("GET", "/nowhere", 404, "no_such_route", None),
    ("GET", "/v1/memory/", 404, "no_such_route", None),
    ("PUT", "/v1/memory", 405, "method_not_allowed", None),
    ("POST", "/health", 405, "method_not_allowed", None),
    ("GET", "/v1/memory", 422, "invalid_input", "namespace"),
    ("GET", "/v1/memory?namespace=unknown", 404, "not_found", "namespace"),
    ("GET", "/v1/memory?namespace=problems&limit=0", 422, "invalid_input", "limit"),
    ("GET", "/v1/memory?namespace=problems&limit=x", 422, "invalid_input", "limit"),
    ("GET", f"/v1/memory?namespace=problems&limit={limits.PAGE_LIMIT_MAX + 1}", 422, "invalid_input", "limit"),
    ("GET", "/v1/memory?namespace=problems&cursor=x", 422, "invalid_input", "cursor"),
    ("GET", "/v1/memory?namespace=problems&cursor=", 422, "invalid_input", "cursor"),
    ("GET", "/v1/memory?namespace=problems&cursor=%E2%82%AC", 422, "invalid_input", "cursor"),
    ("GET", "/v1/memory?namespace=problems&cursor=__________8", 422, "invalid_input", "cursor"),
    ("GET", "/v1/jobs?cursor=nonsense", 422, "invalid_input", "cursor"),
    ("GET", "/v1/jobs?state=lost", 422, "invalid_input", "state"),
    ("GET", "/v1/memory/none?namespace=problems", 404, "not_found", "id"),
    ("GET", "/v1/memory/none/history?namespace=problems", 404, "not_found", "id"),
    ("DELETE", "/v1/memory/none?namespace=problems", 404, "not_found", "id"),
    ("DELETE", "/v1/memory?namespace=problems&filter={", 422, "invalid_input", "filter"),
    ("DELETE", "/v1/memory?namespace=problems&filter=[]", 422, "invalid_input", "filter"),
    ("DELETE", "/v1/memory?namespace=problems&filter=%7B%22a%22:%22%5Cud800%22%7D", 422, "invalid_input", "filter"),
    ("GET", "/v1/memory/search?namespace=problems", 422, "invalid_input", "query"),
    ("GET", "/v1/memory/search?namespace=problems&query=x&mode=magic", 422, "invalid_input", "mode"),
    ("GET", "/v1/memory/search?namespace=problems&query=x&since=7", 422, "invalid_input", "since"),
    ("GET", "/v1/memory/search?namespace=problems&query=x&tags=", 422, "invalid_input", "tags.0"),
    ("GET", "/v1/namespaces/unknown", 404, "not_found", "namespace"),
    ("DELETE", "/v1/namespaces/unknown", 404, "not_found", "namespace"),
    ("PUT", f"/v1/namespaces/{LONG}", 422, "invalid_input", "name"),
    ("PUT", "/v1/namespaces/%20a", 422, "invalid_input", "name"),
]

PATCH = [
    (b"{", 400, "malformed_json", None),
    ({}, 422, "invalid_input", None),
    ({"content": None}, 422, "invalid_input", None),
    ({"content": ""}, 422, "invalid_input", "content"),
    ({"id": "other"}, 422, "invalid_input", "id"),
    ({"namespace": "other"}, 422, "invalid_input", "namespace"),
    ({"tags": ["x"]}, 404, "not_found", "id"),
]


@pytest.fixture(scope="module", autouse=True)
def _namespace(server):
    server.client.put("/v1/namespaces/problems")


def check(response, status, code, field):
    assert response.headers["content-type"] == "application/problem+json", response.text
    found = response.json()
    assert (response.status_code, found["status"], found["code"]) == (status, status, code), found
    assert found["title"]
    assert found["detail"]
    if field is not None:
        assert found["errors"][0]["field"] == field, found


def post(client, path, given, method="POST"):
    content = given if isinstance(given, bytes) else json.dumps(given).encode()
    return client.request(method, path, content=content, headers={"content-type": "application/json"})


@pytest.mark.parametrize(("given", "status", "code", "field"), ADD)
def test_adding(client, given, status, code, field):
    check(post(client, "/v1/memory", given), status, code, field)


@pytest.mark.parametrize(("given", "status", "code", "field"), SEARCH)
def test_searching(client, given, status, code, field):
    check(post(client, "/v1/memory/search", given), status, code, field)


@pytest.mark.parametrize(("given", "status", "code", "field"), PATCH)
def test_patching(client, given, status, code, field):
    check(post(client, "/v1/memory/none?namespace=problems", given, "PATCH"), status, code, field)


@pytest.mark.parametrize(("method", "path", "status", "code", "field"), CALLS)
def test_calls(client, method, path, status, code, field):
    check(client.request(method, path), status, code, field)


@pytest.mark.parametrize("key", ["", "k" * (limits.IDEMPOTENCY_KEY_CHARS_MAX + 1)])
def test_an_impossible_idempotency_key(client, key):
    response = client.post("/v1/memory", json=body(), headers={"Idempotency-Key": key})
    check(response, 422, "invalid_input", "Idempotency-Key")


def test_nothing_refused_was_written(client):
    assert client.get("/v1/memory", params={"namespace": "problems"}).json()["memories"] == []


@pytest.mark.parametrize("path", ["/v1/memory", "/v1/memory/bulk"])
@pytest.mark.parametrize("kind", [None, "text/plain", "application/x-www-form-urlencoded"])
def test_a_body_that_a_page_of_another_site_could_send_is_refused(client, path, kind):
    headers = {"content-type": kind} if kind else {}
    response = client.post(path, content=b'{"namespace": "problems", "content": "x"}', headers=headers)
    check(response, 422, "invalid_input", "content-type")

"""The largest inputs that the limits allow are accepted, kept and found."""

from core import limits


def test_the_longest_content_is_kept_and_its_last_words_are_found(client, namespace, remember, find):
    tail = " the needle is purple"
    content = ("word " * limits.CONTENT_BYTES_MAX)[: limits.CONTENT_BYTES_MAX - len(tail)] + tail
    added = remember(content)
    got = client.get(f"/v1/memory/{added['id']}", params={"namespace": namespace}).json()
    assert got["content"] == content
    remember("something else altogether")
    assert [hit["id"] for hit in find("purple needle", mode="text")] == [added["id"]]
    assert find("the needle is purple", mode="vector", limit=1)[0]["id"] == added["id"]


def test_content_is_measured_in_bytes(client, namespace):
    for content, status in (
        ("€" * (limits.CONTENT_BYTES_MAX // 3), 202),
        ("€" * (limits.CONTENT_BYTES_MAX // 3 + 1), 422),
    ):
        body = {"namespace": f"{namespace}-deleted", "content": content}
        assert client.post("/v1/memory", json=body).status_code == status
    assert client.delete(f"/v1/namespaces/{namespace}-deleted").status_code == 204


def test_every_field_at_its_limit(client, namespace, remember):
    longest = "ü" * limits.NAME_CHARS_MAX
    metadata = {str(number): limits.INTEGER_ABS_MAX for number in range(limits.METADATA_VALUES_MAX)}
    nested = {"a": {"b": {"c": {"d": {"e": 1}}}}}
    tags = [f"{number:03}" + "t" * (limits.TAG_CHARS_MAX - 3) for number in range(limits.TAGS_MAX)]
    remember("full", id=longest, session=longest, tags=tags, metadata=metadata, ttl_seconds=limits.TTL_SECONDS_MAX)
    remember("nested", id=longest[:-1] + "n", metadata=nested, occurred_at="0001-01-02T00:00:00Z", supersedes=longest)
    memory = client.get(f"/v1/memory/{longest[:-1]}n", params={"namespace": namespace}).json()
    assert memory["metadata"] == nested
    history = client.get(f"/v1/memory/{longest}/history", params={"namespace": namespace}).json()
    assert (history[0]["tags"], history[0]["metadata"]) == (tags, metadata)


def test_a_namespace_of_the_longest_name(client):
    name = "語" * limits.NAME_CHARS_MAX
    assert client.put(f"/v1/namespaces/{name}").json()["name"] == name


def test_the_longest_query_and_the_largest_filter(client, namespace, remember):
    remember("found", metadata={"n": 5})
    query = ("found " * limits.QUERY_CHARS_MAX)[: limits.QUERY_CHARS_MAX]
    values = list(range(limits.FILTER_LIST_MAX))
    conditions = [{"n": {"in": values}}] * (limits.FILTER_NODES_MAX // 2 - 1)
    body = {"namespace": namespace, "query": query, "limit": limits.SEARCH_LIMIT_MAX, "filter": {"or": conditions}}
    answer = client.post("/v1/memory/search", json=body)
    assert [hit["content"] for hit in answer.json()["results"]] == ["found"]

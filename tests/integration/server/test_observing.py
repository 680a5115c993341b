"""Health, metrics and whoami of a running server."""

from prometheus_client.parser import text_string_to_metric_families


def samples(client):
    """Every sample of /metrics by name and labels."""
    response = client.get("/metrics")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/plain; version=")
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }


def of(found, name, **labels):
    return found[name, frozenset(labels.items())]


def test_health_says_what_runs(client):
    body = client.get("/health").json()
    assert body["status"] == "healthy"
    assert body["problems"] == []
    assert body["uptime_seconds"] > 0
    assert body["version"]
    assert body["authentication"] == "none"
    assert client.get("/health/live").json() == {"status": "alive"}
    assert client.get("/health/ready").json() == {"status": "ready"}


def test_metrics_balance_for_a_namespace(client, namespace, remember, find):
    for number in range(3):
        remember(f"entry {number}", id=f"m{number}")
    remember("entry 0 again", id="m0")
    client.delete("/v1/memory/m1", params={"namespace": namespace})
    ns = client.get(f"/v1/namespaces/{namespace}").json()["id"]
    before = samples(client)
    find("entry")
    after = samples(client)
    assert of(after, "ostraka_ingest_total", namespace=ns) == 4
    assert of(after, "ostraka_memories_total", namespace=ns) == 3
    states = {
        state: of(after, "ostraka_memory_states", namespace=ns, state=state)
        for state in ("pending", "embedded", "indexed", "failed", "deleted", "expired")
    }
    assert states == {"pending": 0, "embedded": 0, "indexed": 3, "failed": 0, "deleted": 1, "expired": 0}
    assert of(after, "ostraka_ledger_imbalance", namespace=ns) == 0
    assert of(after, "ostraka_ledger_imbalance") == 0
    assert of(after, "ostraka_shards", namespace=ns) >= 1
    assert of(after, "ostraka_shard_bytes", namespace=ns) > 0
    assert of(after, "ostraka_searches_total", namespace=ns) == 1
    count = "ostraka_search_duration_seconds_count"
    assert of(after, count) == of(before, count) + 1
    for queue in ("embed", "embed-bulk"):
        assert of(after, "ostraka_queue_depth", queue=queue) >= 0
        assert of(after, "ostraka_queue_bytes", queue=queue) >= 0
        assert of(after, "ostraka_queue_age_seconds", queue=queue) >= 0
    assert of(after, "ostraka_quarantined_shards") == 0
    assert of(after, "ostraka_frozen") == 0
    assert of(after, "ostraka_free_bytes") > 0
    assert of(after, "ostraka_doorbell_failures") == 0


def test_metrics_name_namespaces_by_opaque_id_only(client, namespace, remember):
    remember("quiet", session="secret-session", tags=["secret-tag"])
    text = client.get("/metrics").text
    for name in (namespace, "secret-session", "secret-tag", "quiet"):
        assert f'"{name}"' not in text


def test_the_developer_of_a_loopback_server_may_do_everything(client):
    body = client.get("/v1/whoami").json()
    assert (body["key_id"], body["scopes"], body["namespaces"]) == (None, ["admin", "read", "write"], ["*"])
    assert body["company"].startswith("co_")


def test_openapi_and_docs_are_served(client):
    assert client.get("/openapi.json").json()["info"]["title"] == "Ostraka"
    assert "text/html" in client.get("/docs").headers["content-type"]

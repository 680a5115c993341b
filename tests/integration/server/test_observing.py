"""Health, metrics and whoami of a running server."""

import re

import pytest
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


def test_the_operator_sees_the_deployment_and_the_process(client, namespace, remember, find):
    remember("a stone")
    find("stone")
    client.get("/v1/memory/unknown", params={"namespace": namespace})
    found = samples(client)
    count = "ostraka_request_duration_seconds_count"
    assert of(found, count, method="POST", route="/v1/memory", status="2xx") >= 1
    assert of(found, count, method="GET", route="/v1/memory/{memory_id}", status="4xx") >= 1
    for part in ("open", "filter", "embed", "text", "vector", "fuse", "hydrate"):
        assert of(found, "ostraka_search_part_duration_seconds_count", part=part) >= 1
    assert of(found, "ostraka_stage_duration_seconds_count", stage="commit") >= 1
    assert of(found, "ostraka_fleet_imbalance") == 0
    for queue in ("embed", "embed-bulk", "index"):
        assert of(found, "ostraka_queue_oldest_age_seconds", queue=queue) >= 0
    assert of(found, "process_open_fds") > 0
    assert of(found, "ostraka_ready") == 1


def test_a_path_that_is_no_route_and_a_method_that_is_none_make_no_labels(client):
    client.get("/secret-path")
    client.request("SECRETMETHOD", "/v1/memory")
    found = samples(client)
    assert "secret" not in client.get("/metrics").text.lower()
    assert of(found, "ostraka_request_duration_seconds_count", method="GET", route="none", status="4xx") >= 1


@pytest.mark.parametrize(
    "given", ["0192b5f4-9c1e-7cc4-8a53-5f3c1b2a9d70", "0A1B2C3D4E5F6071", "f" * 64, f"req_{'0' * 32}"]
)
def test_a_sane_request_id_is_kept(client, given):
    assert client.get("/health/live", headers={"x-request-id": given}).headers["x-request-id"] == given


@pytest.mark.parametrize(
    "given", ["", "0a1b2c3d", "0" * 65, "the secret of the harbour", "0a1b2c3d-4e5f-6071-tell-me", "0" * 32 + "-"]
)
def test_what_is_no_request_id_is_replaced(client, given):
    answered = client.get("/health/live", headers={"x-request-id": given.encode()}).headers["x-request-id"]
    assert re.fullmatch(r"req_[0-9a-f]{32}", answered)


def test_every_answer_has_an_id_of_its_own_and_a_problem_names_it(client):
    ids = [client.get("/health/live").headers["x-request-id"] for _ in range(3)]
    assert len(set(ids)) == 3
    for response in (client.get("/v1/nowhere"), client.post("/v1/memory", content=b"{")):
        assert response.json()["request_id"] == response.headers["x-request-id"]

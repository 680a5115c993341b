"""The log of a server that says everything it can: one JSON object a line, ids that lead to the request, no content."""

import json
import re
import signal
import socket

import psutil

from tests.integration.processes import eventually

CONTENT = "Maritime quarantine regulations mention bergamot"
SAID = ("Maritime", "bergamot", "harbourmaster", "pilotage", "secretkey", "forbidden-name")


# The private Redis writes lines of its own, and Celery one, after an empty one, when it is told to stop.
NOT_OURS = re.compile(r"\d+:([CM]|signal-handler) |worker: \w+ shutdown|$")


def lines_of(server) -> list[dict[str, object]]:
    return [json.loads(line) for line in server.log.read_text().splitlines() if not NOT_OURS.match(line)]


def test_each_line_is_json_names_its_request_and_holds_no_content(server_folder):
    """Nor does what is said of a collector of traces that is away, for which nobody waits."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        away = f"http://127.0.0.1:{taken.getsockname()[1]}"
    environment = {
        "OSTRAKA_SERVER__LOG_FORMAT": "json",
        "OSTRAKA_SERVER__LOG_LEVEL": "debug",
        "OSTRAKA_TELEMETRY__OTLP_ENDPOINT": away,
    }
    server = server_folder(environment=environment).start()
    client, asked = server.client, "0192b5f4-9c1e-7cc4-8a53-5f3c1b2a9d70"
    memory = {"namespace": "harbourmaster", "content": CONTENT, "session": "pilotage", "id": "pilotage-1"}
    added = client.post("/v1/memory", params={"wait": True}, json=memory, headers={"x-request-id": asked}).json()
    found = client.post("/v1/memory/search", json={"namespace": "harbourmaster", "query": "bergamot"})
    assert found.json()["results"]
    client.post("/v1/memory", json=memory | {"forbidden-name": 1, "importance": "bergamot"})
    client.get("/v1/memory/pilotage-2", params={"namespace": "harbourmaster"})
    client.get("/v1/whoami", headers={"x-api-key": "ost_secretkey"})
    client.delete("/v1/memory/pilotage-1", params={"namespace": "harbourmaster"})
    worker: psutil.Process = server.worker
    worker.send_signal(signal.SIGKILL)
    server.event("child_restarted")
    eventually(lambda: client.get("/health/ready").status_code == 200)
    assert server.end(signal.SIGINT) == 0

    lines = lines_of(server)
    text = server.log.read_text()
    assert [word for word in SAID if word.lower() in text.lower()] == []
    for line in lines:
        assert {"event", "level", "timestamp"} <= line.keys()
    [request] = [line for line in lines if line.get("request_id") == asked and line["event"] == "request"]
    assert (request["method"], request["route"], request["status"]) == ("POST", "/v1/memory", 201)
    assert request["job_id"] == added["job_id"]
    [refused] = [line for line in lines if line["event"] == "request_refused"]
    answered = [line for line in lines if line["event"] == "request" and line["request_id"] == refused["request_id"]]
    assert [line["status"] for line in answered] == [401]
    assert {line["event"] for line in lines} >= {"listening", "shard_built", "child_died", "stopped"}

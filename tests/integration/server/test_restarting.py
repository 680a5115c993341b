"""Stopping and starting again on the same data; and what a stop leaves behind."""

import json
import signal

import httpx
import pytest

from tests.integration.processes import Server, eventually
from tests.integration.server.lone_api import LoneApi


def finish(client, job_id):
    def look():
        job = client.get(f"/v1/jobs/{job_id}").json()
        return job if job["finished_at"] else None

    return eventually(look)


def test_a_backlog_pending_at_the_stop_is_indexed_after_the_next_start(server_folder):
    server = server_folder().start()
    add = {"namespace": "kept", "content": "Written before the stop.", "id": "first"}
    assert server.client.post("/v1/memory", params={"wait": True}, json=add).status_code == 201
    rows = [{"namespace": "kept", "id": f"m{number}", "content": f"backlog word{number}x"} for number in range(600)]
    answer = server.client.post(
        "/v1/memory/bulk", content="\n".join(map(json.dumps, rows)), headers={"content-type": "application/x-ndjson"}
    ).json()
    assert answer["accepted"] == 600
    server.stop()

    server = server_folder().start()
    job = finish(server.client, answer["job_id"])
    assert (job["state"], job["indexed"], job["failed"]) == ("indexed", 600, 0)
    for query, expected in (("before the stop", "first"), ("word7x", "m7"), ("word599x", "m599")):
        body = {"namespace": "kept", "query": query, "mode": "text"}
        assert [hit["id"] for hit in server.client.post("/v1/memory/search", json=body).json()["results"]] == [expected]
    again = server.client.post("/v1/memory", params={"wait": True}, json=add | {"id": "last", "content": "And after."})
    assert again.status_code == 201
    server.stop()


def test_a_second_server_on_the_same_data_is_refused(server):
    second = Server(server.folder)
    try:
        assert second.spawn().wait() == 2
    finally:
        second.discard()
    assert "another server runs" in second.log.read_text()
    assert server.client.get("/health/ready").status_code == 200


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_during_the_start_leaves_nothing(server_folder, number):
    server = server_folder()
    server.spawn()
    eventually(server.children)
    children = server.children()
    assert server.end(number) in {0, 1, 130, -number}  # too early for an orderly status, not for an orderly end
    eventually(lambda: not any(child.is_running() for child in children))
    server_folder().start().stop()


def test_a_call_in_flight_is_answered_before_the_stop(server_folder):
    from concurrent.futures import ThreadPoolExecutor

    server = server_folder().start()
    body = {"namespace": "n", "content": "in flight"}
    with ThreadPoolExecutor(1) as pool, httpx.Client(base_url=server.url, timeout=60) as other:
        waiting = pool.submit(other.post, "/v1/memory", params={"wait": True}, json=body)
        eventually(lambda: server.client.get("/v1/jobs").json()["jobs"])
        server.stop()
        assert waiting.result().status_code in {201, 202}


def test_who_waits_for_the_index_is_answered_when_the_server_stops(tmp_path):
    """Nothing indexes it, and it is durable all the same: the answer is not the error of a server that is gone."""
    from concurrent.futures import ThreadPoolExecutor

    api = LoneApi(tmp_path).start()
    body = {"namespace": "notes", "content": "waited for"}
    with ThreadPoolExecutor(1) as pool, httpx.Client(base_url=api.client.base_url, timeout=60) as other:
        adding = pool.submit(other.post, "/v1/memory", params={"wait": True}, json=body)
        eventually(lambda: api.count() == 1)
        api.stop()
        added = adding.result()
    assert (added.status_code, added.json()["state"]) == (202, "pending")

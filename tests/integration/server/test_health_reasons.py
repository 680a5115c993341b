"""Health that tells the truth: what is wrong shows with its code, and searches go on whatever ingest suffers."""

import signal
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.integration.processes import Server, eventually


@pytest.fixture(scope="module")
def impatient(tmp_path_factory):
    """A server that calls a queue stalled after a second."""
    folder = tmp_path_factory.mktemp("impatient")
    server = Server(folder, environment={"OSTRAKA_QUEUE__STALLED_S": "1"})
    try:
        server.start()
        answer = server.client.post(
            "/v1/memory", params={"wait": True}, json={"namespace": "notes", "content": "The kettle is in room 12."}
        )
        assert answer.status_code == 201
        yield server
        server.stop()
    finally:
        server.discard()


@pytest.fixture
def paused():
    """Stop processes in their tracks; they go on in the end."""
    stopped = []

    def pause(process):
        process.send_signal(signal.SIGSTOP)
        stopped.append(process)

    yield pause
    for process in stopped:
        process.send_signal(signal.SIGCONT)


def reasons(client):
    answer = client.get("/health/ready")
    if answer.status_code == 200:
        assert answer.json() == {"status": "ready"}
        return []
    body = answer.json()
    assert (answer.status_code, body["code"]) == (503, "not_ready")
    assert all(reason["detail"] in body["detail"] for reason in body["errors"])
    return [reason["code"] for reason in body["errors"]]


def found(client, query="where is the kettle?"):
    body = {"namespace": "notes", "query": query, "limit": 1}
    return [hit["content"] for hit in client.post("/v1/memory/search", json=body).json()["results"]]


def test_a_pipeline_that_stands_still_is_not_ready_and_goes_on_answering(impatient, paused):
    client = impatient.client
    eventually(lambda: reasons(client) == [])
    worker = impatient.worker
    paused(worker)
    added = client.post("/v1/memory", json={"namespace": "notes", "content": "Nobody indexes this."})
    assert added.status_code == 202
    eventually(lambda: reasons(client) == ["pipeline_stalled"])
    health = client.get("/health").json()
    assert health["status"] == "unready"
    assert [problem.partition(":")[0] for problem in health["problems"]] == ["pipeline_stalled"]
    assert "embed" in health["problems"][0]
    assert found(client) == ["The kettle is in room 12."]

    worker.send_signal(signal.SIGCONT)
    eventually(lambda: reasons(client) == [])
    eventually(lambda: client.get(f"/v1/jobs/{added.json()['job_id']}").json()["state"] == "indexed")


def test_a_redis_that_hangs_is_named_and_hangs_nothing_else(impatient, paused):
    client = impatient.client
    eventually(lambda: reasons(client) == [])
    paused(impatient.redis)
    eventually(lambda: reasons(client) == ["redis_unreachable"])
    with ThreadPoolExecutor(60) as probes:  # more than the server has threads
        probing = [probes.submit(client.get, "/health") for _ in range(300)]
        added = client.post("/v1/memory", json={"namespace": "notes", "content": "Written without a bell."})
        assert added.status_code == 202
        assert found(client) == ["The kettle is in room 12."]
        assert client.get("/health/live").json() == {"status": "alive"}
        answers = [probe.result().json() for probe in probing]
    assert {answer["status"] for answer in answers} == {"unready"}
    assert all("redis_unreachable" in str(answer["problems"]) for answer in answers)


def test_it_is_healthy_once_all_is_well_again(impatient):
    eventually(lambda: impatient.client.get("/health").json()["status"] == "healthy")
    eventually(lambda: found(impatient.client, "bell") == ["Written without a bell."])

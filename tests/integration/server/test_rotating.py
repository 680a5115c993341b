"""Keys are rotated by command beside a running server, and by one that is killed."""

import signal

import psutil
import pytest

from tests.integration.processes import Process, eventually, run_command


@pytest.fixture
def filled(server_folder):
    server = server_folder().start()
    rows = [{"namespace": "notes", "content": f"Lantern number {number}."} for number in range(18)]
    assert server.client.post("/v1/memory/bulk", json=rows).json()["accepted"] == 18
    for number in (18, 19):  # a shard for each flush
        answer = server.client.post(
            "/v1/memory", params={"wait": True}, json={"namespace": "notes", "content": f"Lantern number {number}."}
        )
        assert answer.status_code == 201, answer.text
    eventually(lambda: len(found(server, "Lantern number")) == 20)
    return server


def found(server, query: str) -> list[str]:
    answer = server.client.get("/v1/memory/search", params={"namespace": "notes", "query": query, "limit": 50})
    assert answer.status_code == 200, answer.text
    return [hit["content"] for hit in answer.json()["results"]]


def rotated(server, *words: str) -> str:
    status, said, errors = run_command(server.folder, "rotate", *words)
    assert status == 0, errors
    return said


def test_every_key_is_rotated_beside_a_running_server(filled):
    status, file, errors = run_command(filled.folder, "backup", "create", "--to", ".")
    assert status == 0, errors
    assert rotated(filled, "namespace", "notes").strip() == "2"
    assert rotated(filled, "company", "default").strip() == "2"
    key = rotated(filled, "master").strip()
    answer = filled.client.post(
        "/v1/memory", params={"wait": True}, json={"namespace": "notes", "content": "Written under the new keys."}
    )
    assert answer.status_code == 201, answer.text
    assert "Written under the new keys." in found(filled, "new keys")
    assert len(found(filled, "Lantern number")) == 21
    restored = run_command(
        filled.folder, "backup", "restore", file.strip(), "--into-company", "default", "--namespace", "notes=again"
    )
    assert "20 memories written" in restored[1], restored
    filled.stop()
    again = filled.start()
    assert len(found(again, "Lantern number")) == 21
    assert key in run_command(again.folder, "doctor")[1]
    assert "notes" in rotated(again, "status")  # replaced shards stay for a minute


@pytest.mark.long_run
def test_a_command_that_is_killed_leaves_a_store_that_opens(filled):
    for words in (["namespace", "notes"], ["company", "default"], ["master"]) * 2:
        command = Process(filled.folder, "rotate", *words).spawn()
        try:
            eventually(lambda command=command: command.returncode is not None or _has_begun(command))
            command.send(signal.SIGKILL)
            command.wait()
        finally:
            command.discard()
        assert len(found(filled, "Lantern number")) == 20
    filled.stop()
    again = filled.start()
    assert len(found(again, "Lantern number")) == 20
    rotated(again, "master")
    rotated(again, "company", "default")
    assert len(found(again, "Lantern number")) == 20


def _has_begun(command: Process) -> bool:
    """Whether the process has opened a database, or ended: from then on it may be in any step."""
    try:
        return any("control.db" in file.path for file in psutil.Process(command.pid).open_files())
    except psutil.Error:
        return True

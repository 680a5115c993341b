"""Backups as an operator makes and restores them, beside a running server."""

import base64
import os
import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.integration.processes import Server, eventually, private_environment

QUERIES = ("where is the cat", "E-4711", "tea")
TEXTS = ("The cat sleeps in the cellar.", "Deploys fail with E-4711.", "Bo drinks green tea.", "Nobody asked for this.")


@pytest.fixture
def filled(remember):
    for number, text in enumerate(TEXTS):
        remember(text, id=f"m{number}", session="home")


def answers(client: httpx.Client, namespace: str) -> list[list[tuple[str, str, float]]]:
    found = []
    for query in QUERIES:
        for mode in ("hybrid", "vector", "text"):
            body = {"namespace": namespace, "query": query, "mode": mode}
            hits = client.post("/v1/memory/search", json=body).json()["results"]
            found.append([(hit["id"], hit["content"], hit["score"]) for hit in hits])
    assert any(found)
    return found


def test_a_backup_restored_elsewhere_answers_the_same(server, client, namespace, filled, ostraka, tmp_path):
    file = ostraka("backup", "create", "--to", str(tmp_path / "backups")).out.strip()
    assert re.fullmatch(rf"{tmp_path}/backups/backup_\w+\.ostraka", file)
    assert Path(file).stat().st_mode & 0o077 == 0
    assert "whole and authentic" in ostraka("backup", "verify", file, data=False).out
    ids = client.get(f"/v1/namespaces/{namespace}").json()
    inspected = ostraka("backup", "inspect", file, data=False).out
    assert re.search(rf"{ids['id']}\s*│ {ids['generation']}\s*│ 4\s", inspected)
    assert namespace in ostraka("backup", "list", str(tmp_path / "backups"), data=False).out

    restored = tmp_path / "restored"
    ostraka("backup", "restore", file, "--data", str(restored / "data"), data=False)
    (restored / "config").symlink_to(server.folder / "config")  # the key
    other = Server(restored)
    try:
        other.start()
        assert answers(other.client, namespace) == answers(client, namespace)
        other.stop()
    finally:
        other.discard()


def test_the_api_sends_what_the_command_writes(server, client, filled, ostraka, tmp_path):
    answer = client.post("/admin/backup", json={})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/octet-stream"
    file = tmp_path / "sent.ostraka"
    file.write_bytes(answer.content)
    assert "whole and authentic" in ostraka("backup", "verify", str(file), data=False).out
    file.write_bytes(answer.content[:-1])
    assert "authentication" in ostraka("backup", "verify", str(file), status=2, data=False).said


def test_a_backup_of_a_company_that_is_not_there_is_refused(client):
    assert client.post("/admin/backup", json={"company": "unknown"}).status_code == 404


def test_a_caller_who_goes_away_leaves_the_way_free(client):
    with client.stream("POST", "/admin/backup", json={}) as answer:
        next(answer.iter_raw(100))
    eventually(lambda: client.post("/admin/backup", json={}).status_code == 200)


def test_a_backup_can_be_piped(server, ostraka, tmp_path):
    command = [sys.executable, "-m", "cli.main", "backup", "create", "--out", "-", "--data", str(server.data)]
    file = tmp_path / "piped.ostraka"
    with file.open("wb") as out:
        subprocess.run(command, env=private_environment(server.folder), cwd=server.folder, stdout=out, check=True)
    assert "whole and authentic" in ostraka("backup", "verify", str(file), data=False).out


def test_a_file_that_exists_is_not_overwritten(ostraka, tmp_path):
    file = tmp_path / "mine"
    file.write_text("mine")
    assert "exists" in ostraka("backup", "create", "--out", str(file), status=2).said
    assert file.read_text() == "mine"


def test_another_key_is_refused_and_the_right_one_named(filled, ostraka, tmp_path):
    file = str(tmp_path / "b.ostraka")
    ostraka("backup", "create", "--out", file)
    other = base64.b64encode(os.urandom(32)).decode()
    key_id = re.search(r"needs key\s+(\w{16})", ostraka("backup", "inspect", file, data=False).out)[1]
    target = ("--data", str(tmp_path / "restored"))
    said = ostraka("backup", "restore", file, *target, status=2, data=False, OSTRAKA_ENCRYPTION_KEY=other).said
    assert f"needs master key {key_id}" in said
    without = {"XDG_CONFIG_HOME": str(tmp_path / "nowhere")}
    said = ostraka("backup", "verify", file, status=2, data=False, **without).said
    assert f"needs master key {key_id}, and no key was found" in said
    assert key_id in ostraka("backup", "inspect", file, data=False, **without).out
    assert not (tmp_path / "restored").exists()


def test_a_directory_in_use_is_not_restored_into(ostraka, tmp_path):
    file = str(tmp_path / "b.ostraka")
    ostraka("backup", "create", "--out", file)
    assert "not an empty directory" in ostraka("backup", "restore", file, status=2).said


def test_memories_come_back_into_the_running_server(client, namespace, filled, remember, ostraka, tmp_path):
    folder = tmp_path / "backups"
    ostraka("backup", "create", "--to", str(folder))
    generation = client.get(f"/v1/namespaces/{namespace}").json()["generation"]
    expected = answers(client, namespace)
    remember("One more, so that the index changes.")
    for number in range(len(TEXTS)):
        assert client.delete(f"/v1/memory/m{number}", params={"namespace": namespace}).status_code in {200, 204}
    ostraka("backup", "create", "--to", str(folder))

    again = f"{namespace}-again"
    chosen = ("--namespace", f"{namespace}={again}", "--generation", str(generation))
    said = ostraka("backup", "restore", str(folder), *chosen, "--into-company", "default").out
    assert f"{namespace!r} at generation {generation}" in said
    assert "4 memories written, 4 with the vectors they had" in said
    eventually(lambda: client.get(f"/v1/namespaces/{again}").json()["states"]["indexed"] == 4)
    assert answers(client, again) == expected


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("create",), "--out FILE or --to FOLDER"),
        (("restore", "."), "--generation"),
        (("restore", ".", "--namespace", "a", "--generation", "1"), "no backup holds"),
    ],
)
def test_what_is_not_said_is_asked_for(ostraka, arguments, said):
    assert said in ostraka("backup", *arguments, status=2).said


def test_a_place_that_cannot_be_written_is_named(ostraka, tmp_path):
    file = tmp_path / "b.ostraka"
    ostraka("backup", "create", "--out", str(file))
    (tmp_path / "taken").write_text("a file")
    said = ostraka(
        "backup", "restore", str(file), "--data", str(tmp_path / "taken" / "data"), status=2, data=False
    ).said
    assert f"{tmp_path / 'taken'}" in said
    assert len(said.splitlines()) == 1

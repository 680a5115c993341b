"""The way out and back in: a namespace as JSON lines."""

import json

from tests.integration.processes import eventually

FULL = {
    "id": "full",
    "content": "Ada's train leaves at 07:14. Zür\u00efch, 東京.",
    "metadata": {"customer": {"id": 17}},
    "session": "s1",
    "tags": ["travel", "ada"],
    "importance": 0.25,
    "occurred_at": "2026-03-14T18:30:00+01:00",
}


def test_what_is_exported_can_be_imported_and_found(client, namespace, remember, ostraka):
    remember("The first version.", id="full")
    remember(**FULL)
    remember("Goes away in a day.", ttl_seconds=86_400)
    out, _ = ostraka("export", namespace)
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["content"] for line in lines] == [FULL["content"], "Goes away in a day."]
    assert {name: lines[0][name] for name in FULL} == FULL
    assert 86_300 < lines[1]["ttl_seconds"] <= 86_400
    assert lines[0]["namespace"] == namespace

    copy = f"{namespace}-copy"
    said, _ = ostraka("import", "-", "--namespace", copy, given=out)
    assert said == "2 memories written, 0 lines rejected\n"
    eventually(lambda: client.get(f"/v1/namespaces/{copy}").json()["states"]["indexed"] == 2)
    body = {"namespace": copy, "query": "When does the train leave?", "tags": ["travel"]}
    [hit] = client.post("/v1/memory/search", json=body).json()["results"]
    assert {name: hit[name] for name in FULL} == FULL


def test_wrong_lines_are_named_and_the_others_written(client, namespace, ostraka, tmp_path):
    lines = ['{"content": "good"}', "", "{", '{"content": ""}', '{"content": "x", "extra": 1}', '{"content": "fine"}']
    file = tmp_path / "lines.jsonl"
    file.write_text("\n".join(lines))
    said, faults = ostraka("import", str(file), "--namespace", namespace, status=1)
    assert said == "2 memories written, 3 lines rejected\n"
    assert [line.partition(":")[0] for line in faults.splitlines() if line.startswith("line ")] == [
        "line 3",
        "line 4",
        "line 5",
    ]
    listed = client.get("/v1/memory", params={"namespace": namespace}).json()["memories"]
    assert [memory["content"] for memory in listed] == ["good", "fine"]


def test_many_lines_are_written_in_several_jobs(client, namespace, ostraka):
    given = "\n".join(json.dumps({"id": f"m{number}", "content": f"word{number}x"}) for number in range(2_300))
    said, _ = ostraka("import", "-", "--namespace", namespace, given=given)
    assert said == "2300 memories written, 0 lines rejected\n"
    jobs = client.get("/v1/jobs", params={"limit": 500}).json()["jobs"]
    assert sorted(job["accepted"] for job in jobs if job["namespace"] == namespace) == [300, 1_000, 1_000]


def test_an_export_to_a_file_is_private_and_overwrites_nothing(client, namespace, remember, ostraka, tmp_path):
    remember("One.")
    file = tmp_path / "out.jsonl"
    ostraka("export", namespace, "--out", str(file))
    assert file.stat().st_mode & 0o077 == 0
    assert len(file.read_text().splitlines()) == 1
    _, said = ostraka("export", namespace, "--out", str(file), status=2)
    assert "cannot be written" in said


def test_what_is_not_there_is_said(ostraka, namespace):
    assert "there is no such namespace" in ostraka("export", namespace, status=2)[1]
    assert "cannot be read" in ostraka("import", "nowhere", "--namespace", namespace, status=2)[1]
    assert "--namespace" in ostraka("import", "-", "--namespace", " x", given="", status=2)[1]

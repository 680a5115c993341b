"""``ostraka backfill`` against a running server: every format, what is wrong, what is written twice and what is not."""

import base64
import csv
import json
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cli.backfill import chunks
from tests.integration.processes import eventually


@pytest.fixture
def backfill(server, ostraka, tmp_path, namespace):
    """Run the command on files, written to this test's namespace, with its state kept by the test."""

    def run(*arguments, status=0, url=server.url, **more):
        words = ["backfill", *map(str, arguments), "--namespace", namespace, "--url", url]
        return ostraka(*words, status=status, data=False, XDG_STATE_HOME=str(tmp_path / "state"), **more)

    return run


@pytest.fixture
def listed(client, namespace):
    """Return the present memories in the order of their acceptance, once all are indexed."""

    def settled():
        states = client.get(f"/v1/namespaces/{namespace}").json()["states"]
        return states["indexed"] and not states["pending"] and not states["embedded"]

    def look():
        eventually(settled)
        found, cursor = [], None
        while True:
            query = {"namespace": namespace, "limit": 500} | ({"cursor": cursor} if cursor else {})
            page = client.get("/v1/memory", params=query).json()
            found += page["memories"]
            cursor = page["next_cursor"]
            if cursor is None:
                return found

    return look


@pytest.fixture
def small_calls(monkeypatch):
    monkeypatch.setattr(chunks.cut, "__defaults__", (5, chunks.BYTES_MAX))


def told(ran):
    """Return the numbers of the final table."""
    return dict(re.findall(r"^(\w[\w ]*?) {2,}(\S+)", ran.out, re.MULTILINE))


def write_lines(path, *rows):
    path.write_text("\n".join(json.dumps(row) if isinstance(row, dict) else row for row in rows))
    return path


def test_a_directory_of_every_format_is_written_in_order(backfill, listed, tmp_path, find):
    folder = tmp_path / "in"
    folder.mkdir()
    write_lines(folder / "a.jsonl", {"body": "Rivers run to the sea.", "uuid": "a", "price": 1})
    with (folder / "b.csv").open("w") as file:
        csv.writer(file).writerows([["body", "uuid", "price", "tags"], ["Bread needs salt.", "b", "", "x,y"]])
    table = {"body": ["The moon has no air."], "uuid": [3], "price": [2.5], "occurred_at": [None], "extra": [1]}
    pq.write_table(pa.table(table), folder / "c.parquet")
    flags = ["--map", "content=body", "--map", "id=uuid", "--metadata", "price", "--skip", "*"]
    assert told(backfill(folder, *flags)) | {"time": ""} == {"written": "3", "rejected": "0", "time": ""}
    memories = listed()
    assert [(each["id"], each["content"], each["metadata"], each["tags"]) for each in memories] == [
        ("a", "Rivers run to the sea.", {"price": 1}, []),
        ("b", "Bread needs salt.", {}, ["x", "y"]),
        ("3", "The moon has no air.", {"price": 2.5}, []),
    ]
    assert find("what does bread need?", limit=1)[0]["id"] == "b"


def test_wrong_rows_are_told_by_place_and_the_others_written(backfill, listed, tmp_path):
    rows = [{"content": "one"}, "{", {"content": " "}, {"content": "two"}, {"content": "x", "colour": "needle"}]
    file, report = write_lines(tmp_path / "f.jsonl", *rows), tmp_path / "report.jsonl"
    ran = backfill(file, "--report", report, status=1)
    assert (told(ran)["written"], told(ran)["rejected"]) == ("2", "3")
    assert [json.loads(line) for line in report.read_text().splitlines()] == [
        {"file": "f.jsonl", "row": 2, "code": "malformed_json", "detail": "is not JSON"},
        {"file": "f.jsonl", "row": 3, "code": "invalid_input", "detail": "content: must not be blank"},
        {
            "file": "f.jsonl",
            "row": 5,
            "code": "unknown_field",
            "detail": "has a field that nothing says what to do with: see --skip",
        },
    ]
    assert "needle" not in ran.out + ran.said + report.read_text()
    assert report.stat().st_mode & 0o077 == 0
    assert [memory["content"] for memory in listed()] == ["one", "two"]


def test_strict_stops_at_the_first_wrong_row_and_goes_on_once_it_is_mended(backfill, listed, tmp_path, small_calls):
    rows = [{"content": f"note {number}"} for number in range(20)]
    file = write_lines(tmp_path / "f.jsonl", *rows[:12], "{", *rows[13:])
    assert told(backfill(file, "--strict", status=1))["written"] == "10"
    write_lines(file, *rows)
    ran = told(backfill(file, "--strict"))
    assert (ran["written"], ran["written before"]) == ("10", "10")
    assert sorted(memory["content"] for memory in listed()) == sorted(row["content"] for row in rows)


def test_a_dry_run_writes_nothing_and_asks_nobody(backfill, client, namespace, tmp_path):
    file = write_lines(tmp_path / "f.jsonl", {"content": "one"}, {"content": ""}, {"content": "two"})
    ran = backfill(file, "--dry-run", status=1, url="http://127.0.0.1:9")
    assert (told(ran)["would be written"], told(ran)["rejected"]) == ("2", "1")
    assert "f.jsonl:2" in ran.out
    assert client.get(f"/v1/namespaces/{namespace}").status_code == 404


def test_the_same_rows_again_write_nothing_and_under_another_name_versions(backfill, listed, tmp_path, small_calls):
    file = write_lines(tmp_path / "f.jsonl", *({"content": f"note {number % 3}"} for number in range(12)))
    assert told(backfill(file))["written"] == "12"
    again = told(backfill(file))
    assert (again["written"], again["written before"]) == ("0", "12")
    before = listed()
    assert ([each["version"] for each in before], len({each["id"] for each in before})) == ([1] * 12, 12)
    named = told(backfill(file, "--run", "second"))
    assert (named["written"], "written before" in named) == ("12", False)
    after = listed()
    assert [each["version"] for each in after] == [2] * 12
    assert {each["id"] for each in after} == {each["id"] for each in before}


def test_versions_of_a_memory_keep_the_order_of_their_rows(backfill, listed, tmp_path, small_calls):
    rows = [{"content": f"state {number}", "id": f"m{number % 4}"} for number in range(60)]
    backfill(write_lines(tmp_path / "f.jsonl", *rows), "--in-flight", "8")
    assert {each["id"]: (each["content"], each["version"]) for each in listed()} == {
        f"m{number % 4}": (f"state {number}", 15) for number in range(56, 60)
    }


def test_a_session_keeps_the_order_of_its_rows(backfill, listed, tmp_path, small_calls):
    rows = [{"content": f"turn {number}", "session": f"s{number // 20}"} for number in range(60)]
    backfill(write_lines(tmp_path / "f.jsonl", *rows), "--in-flight", "8")
    memories = listed()
    for session in ("s0", "s1", "s2"):
        turns = [int(each["content"].split()[1]) for each in memories if each["session"] == session]
        assert turns == sorted(turns)
        assert len(turns) == 20


def test_vectors_of_a_column_are_indexed_as_they_are(backfill, client, namespace, listed, embedder, find, tmp_path):
    texts = ["How whales sleep", "The price of copper", "Rain in April"]
    vectors = np.array([each[0] for each in embedder.embed_passages(texts)], np.float32)
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
    pq.write_table(pa.table({"content": ["a", "b", "c"], "vector": column}), tmp_path / "f.parquet")
    ran = told(backfill(tmp_path / "f.parquet", "--fingerprint", embedder.fingerprint))
    assert (ran["written"], ran["with vectors"]) == ("3", "3")
    listed()
    assert [find(query, mode="vector", limit=1)[0]["content"] for query in texts] == ["a", "b", "c"]
    said = backfill(tmp_path / "f.parquet", "--fingerprint", "another:int8:0", status=2).said
    assert embedder.fingerprint in said
    assert "--fingerprint" in backfill(tmp_path / "f.parquet", status=2).said
    assert told(backfill(tmp_path / "f.parquet", "--skip", "vector"))["written"] == "3"


def test_vectors_in_lines_carry_their_fingerprint(backfill, embedder, listed, tmp_path):
    good = {"fingerprint": embedder.fingerprint, "vector": base64.b64encode(np.ones(embedder.dim, "<f4")).decode()}
    rows = [{"content": "x", "embedding": each} for each in (good, good | {"fingerprint": "f"}, good | {"vector": [1]})]
    ran = backfill(write_lines(tmp_path / "f.jsonl", *rows), status=1)
    assert (told(ran)["written"], told(ran)["with vectors"]) == ("1", "1")
    assert "fingerprint_mismatch" in ran.out
    assert "invalid_vector" in ran.out
    assert len(listed()) == 1


def test_standard_input_is_read_as_lines(backfill, listed):
    given = '{"content": "one"}\n{"content": "two"}\n'
    assert told(backfill("-", given=given))["written"] == "2"
    assert told(backfill("-", given=given))["written before"] == "2"
    assert [each["content"] for each in listed()] == ["one", "two"]


def test_what_cannot_begin_is_one_line_and_status_two(backfill, tmp_path):
    file = write_lines(tmp_path / "f.jsonl", {"content": "x"})
    assert "cannot be read" in backfill(tmp_path / "none.jsonl", status=2).said
    assert "no server answers" in backfill(file, url="http://127.0.0.1:9", status=2).said
    assert "--url" in backfill(file, url="ftp://x", status=2).said
    assert "--key-file" in backfill(file, "--key-file", tmp_path / "no", status=2).said
    assert "--delimiter" in backfill(file, "--delimiter", "ab", status=2).said
    assert "--report" in backfill(file, "--report", tmp_path / "no" / "r", status=2).said
    assert "--map" in backfill(file, "--map", "x", status=2).said

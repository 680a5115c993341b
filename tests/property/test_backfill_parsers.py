"""Hostile files: whatever bytes come, reading ends, every row is good or a fault, and no fault tells what was there."""

import csv
import io
import json
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cli.backfill.judging import Judge
from cli.backfill.mapping import read_routes
from cli.backfill.reading import Progress, read_rows
from cli.backfill.sources import find_sources
from cli.backfill.tally import Tally
from core import limits
from core.errors import ConfigurationError

CONTENT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20).filter(str.strip)
NAME = st.text("abcé漢", min_size=1, max_size=5)
MEMORIES = st.lists(st.fixed_dictionaries({"content": CONTENT, "id": NAME}, optional={"session": NAME}), max_size=20)


def load(ending: str, content: bytes, skip: str = "*"):
    """Read a file of that ending; return the lines that would be sent, and the report of the others."""
    routes = read_routes([], "", skip, "f")
    report = io.StringIO()
    tally = Tally(report)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"f{ending}"
        path.write_bytes(content)
        sources, _ = find_sources(path, None)
        judge = Judge(routes, "n", "ns", None)
        rows = read_rows(sources, routes, judge, tally, Progress(1), None)
        try:
            good = [json.loads(row.line) for row in rows]
        except ConfigurationError as error:  # its columns are not those that the flags name
            good = []
            tally.reject(path.name, 1, "columns", error.message)
    faults = [json.loads(line) for line in report.getvalue().splitlines()]
    assert (len(good), len(faults)) == (tally.good, tally.rejected)
    return good, faults


def as_jsonl(memories):
    return "\n".join(json.dumps(each) for each in memories).encode()


def as_csv(memories):
    out = io.StringIO()
    writer = csv.DictWriter(out, ["content", "id", "session"])
    writer.writeheader()
    writer.writerows(memories)
    return out.getvalue().encode()


def as_parquet(memories):
    out = io.BytesIO()
    schema = pa.schema([(name, pa.string()) for name in ("content", "id", "session")])
    pq.write_table(pa.Table.from_pylist(memories, schema), out, row_group_size=7)
    return out.getvalue()


WRITERS = {".jsonl": as_jsonl, ".csv": as_csv, ".parquet": as_parquet}


@pytest.mark.parametrize("ending", WRITERS)
@given(MEMORIES)
@settings(max_examples=40)
def test_what_was_written_in_a_format_is_what_is_sent(ending, memories):
    good, faults = load(ending, WRITERS[ending](memories))
    assert faults == []
    assert good == [{"namespace": "n", **each} for each in memories]


@pytest.mark.parametrize("ending", [".jsonl", ".csv", ".parquet", ".jsonl.gz", ".csv.zst"])
@given(st.binary(max_size=300))
@settings(max_examples=60)
def test_any_bytes_are_read_to_their_end(ending, content):
    good, faults = load(ending, content)
    assert all(each["content"] for each in good)
    assert all(fault["row"] >= 1 and fault["detail"] for fault in faults)


PIECES = st.sampled_from(
    [b'"', b'""', b",", b"\n", b"\r\n", b"\r", b"a", b"\xff", b"\0", b"{", b"[", b"}", b":", b"\\"]
)


@pytest.mark.parametrize(("ending", "head"), [(".csv", b"content\n"), (".csv", b"content,id\n"), (".jsonl", b"")])
@given(st.lists(PIECES, max_size=40).map(b"".join))
@settings(max_examples=100)
@example(b'"' + b"\n" * 50)
@example(b'{"content": "a"}\n' + b"[" * 2_000)
def test_what_nearly_is_a_file_is_read_to_its_end(ending, head, content):
    _, faults = load(ending, head + content)
    assert all(fault["code"] for fault in faults)


@given(MEMORIES.filter(bool), st.data())
@settings(max_examples=60)
def test_a_damaged_parquet_file_is_no_crash(memories, data):
    content = bytearray(as_parquet(memories))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    good, faults = load(".parquet", bytes(content[: data.draw(st.integers(0, len(content)))]))
    assert len(good) + len(faults) <= len(memories) + 1


@pytest.mark.parametrize(
    ("ending", "rows"),
    [
        (
            ".jsonl",
            [
                '{"content": "needle"',
                '["needle"]',
                '{"content": {"needle": 1}}',
                '{"content": "x", "id": "\\u0000needle"}',
            ],
        ),
        (".csv", ['"needle"x', "needle,needle", '""', '"' + "needle" * 30_000]),
    ],
)
def test_no_fault_tells_what_was_there(ending, rows):
    _, faults = load(ending, "\n".join(["content" if ending == ".csv" else "", *rows]).encode())
    assert len(faults) == len(rows)
    assert "needle" not in json.dumps(faults)


# Without a bound, each of these would take all the memory there is.
ENDLESS = {
    "a line": (".jsonl", b'{"content": "', b"x" * 100_000, b'\n{"content": "last"}'),
    "a line of CSV": (".csv", b"content\n", b"x" * 100_000, b"\nlast"),
}


@pytest.mark.parametrize(("ending", "begin", "more", "end"), ENDLESS.values(), ids=ENDLESS.keys())
def test_what_has_no_end_is_cut_and_the_rest_is_read(ending, begin, more, end):
    good, faults = load(ending, begin + more * (3 * limits.BODY_BYTES_MAX // len(more)) + end)
    assert faults[0]["code"] in {"too_large", "malformed_csv"}
    assert good[-1]["content"] == "last"


@pytest.mark.parametrize(
    ("begin", "more"),
    [(b"", b"x," * 50_000), (b"content\n", b'"\n",' * 20_000), (b'content\n"', b"x" * 99_999 + b"\n")],
    ids=["a header", "a row", "a quote"],
)
def test_csv_is_read_no_further_than_where_its_rows_can_be_told(begin, more):
    good, faults = load(".csv", begin + more * (3 * limits.BODY_BYTES_MAX // len(more)) + b"\nlast")
    assert (good, len(faults)) == ([], 1)


def test_a_quote_that_does_not_close_takes_no_other_row_for_its_own():
    good, faults = load(".csv", b'content,id\na,1\n"b,2\nc,3\n"d",4\ne,5\n')
    assert [each["id"] for each in good] == ["1"]
    assert [(fault["row"], fault["code"]) for fault in faults] == [(3, "malformed_csv")]

"""Which files are read, as what, and how: names, packings, the shapes of Parquet."""

import gzip
import json
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cli.backfill.mapping import read_routes
from cli.backfill.reading import Progress, check_columns
from cli.backfill.rows import Fault, Row
from cli.backfill.sources import STANDARD, find_sources, opened
from core.errors import ConfigurationError, InvalidInput


def rows_of(path, delimiter=None):
    [source], _ = find_sources(path, None)
    with opened(source, delimiter) as reader:
        found = list(reader.rows(None))
        assert reader.share == 1
    return found


def zstd(content):
    buffer = pa.BufferOutputStream()
    with pa.CompressedOutputStream(buffer, "zstd") as packed:
        packed.write(content)
    return buffer.getvalue().to_pybytes()


def test_a_directory_is_read_in_the_order_of_names(tmp_path):
    for name in ("b.csv", "a/z.jsonl.gz", "a/y.NDJSON", "c.parquet", "notes.txt", ".hidden.csv", ".git/x.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    sources, others = find_sources(tmp_path, None)
    assert [(each.name, each.format, each.packing) for each in sources] == [
        ("a/y.NDJSON", "jsonl", ""),
        ("a/z.jsonl.gz", "jsonl", "gz"),
        ("b.csv", "csv", ""),
        ("c.parquet", "parquet", ""),
    ]
    assert others == 1
    assert [each.name for each in find_sources(tmp_path / "notes.txt", "csv")[0]] == ["notes.txt"]


@pytest.mark.parametrize(
    ("target", "form", "said"),
    [("nowhere.csv", None, "cannot be read"), ("notes.txt", None, "--format"), ("", None, "--format")],
)
def test_what_cannot_be_read_is_said_at_the_start(tmp_path, target, form, said):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(ConfigurationError, match=said):
        find_sources(tmp_path / target, form)
    with pytest.raises(ConfigurationError, match="standard input"):
        find_sources(STANDARD, "parquet")


@pytest.mark.parametrize("pack", [("", bytes), (".gz", gzip.compress), (".zst", zstd)], ids=["plain", "gz", "zst"])
def test_a_file_may_be_packed(tmp_path, pack):
    ending, packed = pack
    content = b'\xef\xbb\xbf{"content":"a"}\n\n{\n[1]\n{"content":"b"}'
    (tmp_path / f"f.jsonl{ending}").write_bytes(packed(content))
    assert [(each.number, isinstance(each, Row)) for each in rows_of(tmp_path / f"f.jsonl{ending}")] == [
        (1, True),
        (3, False),
        (4, False),
        (5, True),
    ]


def test_csv_is_numbered_by_the_lines_of_an_editor(tmp_path):
    path = tmp_path / "f.csv"
    path.write_bytes(
        b'\xef\xbb\xbfid,content\r\n1,"a ""quoted""\nsecond"\r\n\r\n2,b,c\r\n3,"x"y\r\n4,\xff\r\n5,"open\r\n'
    )
    found = rows_of(path)
    assert found[0] == Row(2, {"id": "1", "content": 'a "quoted"\nsecond'})
    assert [(each.number, each.code) for each in found if isinstance(each, Fault)] == [
        (5, "malformed_csv"),
        (6, "malformed_csv"),
        (8, "malformed_csv"),
    ]
    assert found[-2] == Row(7, {"id": "4", "content": "\udcff"})


def test_other_delimiters(tmp_path):
    (tmp_path / "f.tsv").write_text("id\tcontent\n1\ta,b\n")
    (tmp_path / "f.csv").write_text("id;content\n1;a,b\n")
    assert rows_of(tmp_path / "f.tsv") == rows_of(tmp_path / "f.csv", ";") == [Row(2, {"id": "1", "content": "a,b"})]


@pytest.mark.parametrize("header", ["", "\n", "a,a\n", "a,\n", '"a\n', ",".join(map(str, range(1_001)))])
def test_a_bad_header_is_refused(tmp_path, header):
    (tmp_path / "f.csv").write_text(header)
    with pytest.raises(InvalidInput):
        rows_of(tmp_path / "f.csv")


def test_parquet_gives_every_type_as_json_has_it(tmp_path):
    at = datetime(2026, 3, 14, 18, 30, tzinfo=timezone(timedelta(hours=1)))
    table = pa.table(
        {
            "content": pa.array(["a", None]),
            "id": pa.array([1, 2]),
            "tags": pa.array([["x", "y"], []]),
            "occurred_at": pa.array([at, None], pa.timestamp("ns", "+01:00")),
            "metadata": pa.array([{"a": 1.5, "b": [at.astimezone(UTC)]}, None]),
            "price": pa.array([1.5, float("nan")]),
            "many": pa.array([[("k", 1)], None], pa.map_(pa.string(), pa.int64())),
            "vector": pa.FixedSizeListArray.from_arrays(pa.array([1, 2, 3, 4], pa.float32()), 2),
            "wide": pa.array([[1.0, 2.0, 3.0], None], pa.list_(pa.float64())),
            "kind": pa.array(["x", "y"]).dictionary_encode(),
        }
    )
    pq.write_table(table, tmp_path / "f.parquet")
    first, second = rows_of(tmp_path / "f.parquet")
    assert (first.number, second.number) == (1, 2)
    assert first.fields["occurred_at"] == at.isoformat()
    assert first.fields["metadata"] == {"a": 1.5, "b": ["2026-03-14T17:30:00+00:00"]}
    assert first.fields["tags"] == ["x", "y"]
    assert json.dumps([first.fields["vector"], second.fields["vector"]]) == '["AACAPwAAAEA=", "AABAQAAAgEA="]'
    assert (first.fields["wide"], second.fields["wide"]) == ("AACAPwAAAEAAAEBA", None)
    assert (second.fields["price"], second.fields["content"], second.fields["kind"]) == (None, None, "y")


def test_only_columns_that_are_wanted_are_read(tmp_path):
    pq.write_table(pa.table({"content": ["a"], "junk": ["b"]}), tmp_path / "f.parquet")
    [source], _ = find_sources(tmp_path / "f.parquet", None)
    with opened(source, None) as reader:
        assert list(reader.rows(("content",))) == [Row(1, {"content": "a"})]


def test_a_value_that_cannot_be_read_is_a_fault_of_its_row(tmp_path):
    spoilt = pa.StringArray.from_buffers(2, pa.array([0, 1, 2], pa.int32()).buffers()[1], pa.py_buffer(b"a\xff"))
    pq.write_table(pa.table({"content": spoilt}), tmp_path / "f.parquet")
    good, bad = rows_of(tmp_path / "f.parquet")
    assert (good.fields, bad.code, bad.number) == ({"content": "a"}, "unreadable_value", 2)


def test_every_file_is_checked_before_anything_is_sent(tmp_path):
    (tmp_path / "a.csv").write_text("content\nx\n")
    (tmp_path / "b.csv").write_text("content,foo\nx,y\n")
    (tmp_path / "c.parquet").write_bytes(b"broken")  # told when it is read
    sources, _ = find_sources(tmp_path, None)
    with pytest.raises(ConfigurationError, match=r"b\.csv.*foo"):
        check_columns(sources, read_routes([], "", "", None), None)
    check_columns(sources, read_routes([], "", "foo", None), None)


def test_progress_goes_by_the_bytes_of_all_files(tmp_path):
    assert Progress(0).share is None
    pq.write_table(pa.table({"content": np.arange(10).astype(str)}), tmp_path / "f.parquet")
    [source], _ = find_sources(tmp_path / "f.parquet", None)
    with opened(source, None) as reader:
        progress = Progress(4 * source.bytes, before=2 * source.bytes, size=source.bytes, reader=reader)
        assert progress.share == 0.5
        list(reader.rows(None))
        assert progress.share == 0.75

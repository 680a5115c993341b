"""Calls cut from rows, their keys, and the journal of those that were answered."""

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.backfill.chunks import cut
from cli.backfill.journal import Answered, Journal
from cli.backfill.judging import Good, Judge
from cli.backfill.mapping import read_routes
from cli.backfill.rows import Fault, Row
from core.errors import ConfigurationError
from core.vectors import VectorSpace

ROWS = [Good("f", number, b'{"n":%d}' % number, (number % 3,), embedded=False) for number in range(10)]


@given(st.lists(st.binary(max_size=20)), st.integers(1, 5), st.integers(1, 40))
def test_chunks_keep_all_rows_in_order_within_both_bounds(lines, rows_max, bytes_max):
    rows = [Good("f", number, line, (), embedded=False) for number, line in enumerate(lines)]
    found = list(cut(rows, b"", rows_max, bytes_max))
    assert [row for chunk in found for row in chunk.rows] == rows
    for chunk in found:
        assert 1 <= len(chunk.rows) <= rows_max
        assert len(chunk.rows) == 1 or sum(len(row.line) + 1 for row in chunk.rows) <= bytes_max
    for chunk, following in pairwise(found):  # none is cut too early
        size = sum(len(row.line) + 1 for row in [*chunk.rows, following.rows[0]])
        assert len(chunk.rows) == rows_max or size > bytes_max


def test_equal_calls_have_equal_keys_and_no_others():
    first = [chunk.key for chunk in cut(ROWS, b"a", 3)]
    assert [chunk.key for chunk in cut(ROWS, b"a", 3)] == first
    assert len({*first, *(chunk.key for chunk in cut(ROWS, b"b", 3))}) == 8
    changed = [*ROWS[:4], replace(ROWS[4], line=b"{}"), *ROWS[5:]]
    again = [chunk.key for chunk in cut(changed, b"a", 3)]
    assert [key == other for key, other in zip(first, again, strict=True)] == [True, False, True, True]


def judge(namespace_id="ns_1", space=None):
    return Judge(read_routes([], "", "", None), "n", namespace_id, space)


def line_of(source, number, fields, namespace_id="ns_1"):
    found = judge(namespace_id).judge(source, Row(number, fields), spelled=False)
    assert isinstance(found, Good)
    return found.line


def test_a_row_without_id_gets_one_from_what_and_where_it_is():
    given_row = line_of("f", 1, {"content": "x"})
    assert line_of("f", 1, {"content": "x"}) == given_row
    others = [
        line_of("f", 2, {"content": "x"}),
        line_of("g", 1, {"content": "x"}),
        line_of("f", 1, {"content": "y"}),
        line_of("f", 1, {"content": "x"}, "ns_2"),
    ]
    assert len({given_row, *others}) == 5
    assert line_of("f", 1, {"content": "x", "id": "mine"}) == b'{"namespace":"n","content":"x","id":"mine"}'


def test_rows_touch_by_id_and_session():
    found = judge().judge("f", Row(1, {"content": "x", "id": "a", "session": "s", "supersedes": "b"}), spelled=False)
    other = judge().judge("f", Row(2, {"content": "x", "id": "b", "session": "a"}), spelled=False)
    assert len(set(found.touches) & set(other.touches)) == 1  # the superseded id, not the session of an id's name


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({}, "invalid_input"),
        ({"content": "x" * 100_001}, "invalid_input"),
        ({"content": "x", "metadata": {"a": "x" * 1_000_000}}, "too_large"),
        ({"content": "x", "colour": "red"}, "unknown_field"),
        ({"content": "x\udcff"}, "not_utf8"),
        ({"content": "x\ud800"}, "invalid_input"),
        ({"content": "x", "metadata": {"a": object()}}, "invalid_input"),
        ({"content": "x", "importance": 2}, "invalid_input"),
        ({"content": "x", "occurred_at": "2026-01-01"}, "invalid_input"),
        ({"content": "x", "embedding": {"fingerprint": "f", "vector": "?"}}, "invalid_vector"),
        ({"content": "x", "embedding": {"fingerprint": "f", "vector": [1]}}, "invalid_vector"),
        ({"content": "x", "embedding": {"fingerprint": "g", "vector": [1, 0]}}, "fingerprint_mismatch"),
        ({"content": "x", "embedding": {"vector": [1, 0]}}, "invalid_input"),
    ],
)
def test_what_the_server_would_refuse_is_a_fault_of_its_row(fields, code):
    found = judge(space=VectorSpace("f", 2)).judge("f", Row(3, fields), spelled=False)
    assert isinstance(found, Fault)
    assert (found.number, found.code) == (3, code)


def test_a_fault_repeats_nothing_of_its_row():
    secret = {
        "embedding": {"fingerprint": "f", "vector": [1], "needle": "needle"},
        "content": 7,
        "session": "\x00needle",
    }
    found = judge().judge("f", Row(1, secret), spelled=False)
    assert "needle" not in found.detail
    assert "content: " in found.detail


def test_the_journal_knows_answered_calls_and_passes_over_a_cut_line(tmp_path):
    path = tmp_path / "state" / "j"
    with Journal(path) as journal:
        journal.note("k1", Answered(5, 0))
        journal.note("k2", Answered(4, 1))
    whole = path.read_bytes()
    assert path.stat().st_mode & 0o077 == 0
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with Journal(path) as journal:
            assert journal.answered == {
                key: answered
                for key, answered, end in (
                    ("k1", Answered(5, 0), whole.index(b" .") + 2),
                    ("k2", Answered(4, 1), len(whole) - 1),
                )
                if length >= end
            }
            journal.note("k3", Answered(1, 0))
        with Journal(path) as journal:
            assert journal.answered["k3"] == Answered(1, 0)
            journal.remove()
        assert not path.exists()


def test_a_journal_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="--journal"):
        Journal(tmp_path / "file" / "j")

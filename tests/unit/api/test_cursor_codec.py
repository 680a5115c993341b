"""Cursors: every row survives; nothing else is taken for one."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.cursors import decode_cursor, encode_cursor
from core.errors import InvalidInput


@given(st.integers(0, 2**63 - 1))
def test_every_row_survives(row):
    assert decode_cursor(encode_cursor(row)) == row


def test_no_cursor_is_the_beginning():
    assert decode_cursor(None) is None


@given(st.text(max_size=20))
def test_other_text_is_refused_or_a_row(text):
    with suppress(InvalidInput):
        row = decode_cursor(text)
        assert row is not None
        assert encode_cursor(row)[:10] == text[:10]


@pytest.mark.parametrize("cursor", ["", "=", "AAAA", "A" * 12, "__________8", "AAAAAAAAAA\n"])
def test_broken_cursors_are_refused(cursor):
    with pytest.raises(InvalidInput):
        decode_cursor(cursor)

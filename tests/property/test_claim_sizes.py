"""How many rows are tried together, by how often they were tried before."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.records.claims import batch_rows_for


@pytest.mark.parametrize(
    ("attempts_max", "batch_rows", "sizes"),
    [
        (5, 256, [256, 64, 16, 4, 1]),
        (3, 256, [256, 16, 1]),
        (2, 256, [256, 1]),
        (1, 256, [1]),
        (12, 256, [256, 128, 64, 32, 16, 8, 4, 2, 1, 1, 1, 1]),
        (5, 1, [1, 1, 1, 1, 1]),
    ],
)
def test_batches_shrink_to_one(attempts_max, batch_rows, sizes):
    assert [batch_rows_for(attempts, attempts_max, batch_rows) for attempts in range(attempts_max)] == sizes


@given(st.integers(2, 100), st.integers(1, 4_096))
def test_the_first_try_is_whole_each_next_at_most_half_and_the_last_alone(attempts_max, batch_rows):
    sizes = [batch_rows_for(attempts, attempts_max, batch_rows) for attempts in range(attempts_max)]
    assert (sizes[0], sizes[-1]) == (batch_rows, 1)
    assert all(after <= max(1, before // 2) for before, after in itertools.pairwise(sizes))

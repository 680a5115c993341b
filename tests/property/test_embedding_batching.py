import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.embedding.batching import cut_batches

LENGTHS = st.lists(st.integers(0, 600), max_size=200)


@given(LENGTHS, st.integers(1, 5_000), st.integers(1, 64))
def test_batches_hold_every_text_once_within_the_budget(lengths, tokens_max, rows_max):
    batches = cut_batches(lengths, tokens_max=tokens_max, rows_max=rows_max)

    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    for batch in batches:
        cost = len(batch) * max(lengths[index] for index in batch)
        assert 1 <= len(batch) <= rows_max
        assert cost <= tokens_max or len(batch) == 1


@given(LENGTHS, st.integers(1, 5_000), st.integers(1, 64))
def test_batches_run_from_longest_to_shortest(lengths, tokens_max, rows_max):
    batches = cut_batches(lengths, tokens_max=tokens_max, rows_max=rows_max)

    taken = [lengths[index] for batch in batches for index in batch]
    assert taken == sorted(lengths, reverse=True)


@pytest.mark.parametrize(("tokens_max", "rows_max"), [(0, 1), (1, 0)])
def test_an_impossible_budget_is_refused(tokens_max, rows_max):
    with pytest.raises(ValueError, match="at least one"):
        cut_batches([1], tokens_max=tokens_max, rows_max=rows_max)

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.ranking import ndcg_at, recall_at, reciprocal_rank

_RANKED = st.lists(st.sampled_from([f"m{index}" for index in range(30)]), unique=True, max_size=20)
_RELEVANT = st.frozensets(st.sampled_from([f"m{index}" for index in range(30)]), min_size=1)


def test_recall_counts_what_was_found_of_all_that_is_relevant() -> None:
    assert recall_at(["a", "b", "c"], {"a", "c", "x", "y"}, 10) == 0.5


def test_recall_looks_no_deeper_than_asked() -> None:
    assert recall_at(["a", "b", "c"], {"c"}, 2) == 0


def test_the_reciprocal_rank_is_of_the_first_relevant_id() -> None:
    assert reciprocal_rank(["a", "b", "c"], {"b", "c"}) == 0.5
    assert reciprocal_rank(["a", "b"], {"z"}) == 0


def test_ndcg_by_hand() -> None:
    got = 1 / math.log2(2) + 1 / math.log2(4)
    best = 1 / math.log2(2) + 1 / math.log2(3) + 1 / math.log2(4)
    assert ndcg_at(["a", "x", "b"], {"a", "b", "c"}, 10) == pytest.approx(got / best)


def test_more_relevant_ids_than_the_depth_can_still_be_ranked_perfectly() -> None:
    assert ndcg_at(["a", "b"], {"a", "b", "c", "d"}, 2) == 1


@given(_RANKED, _RELEVANT)
def test_every_measure_lies_between_nothing_and_all(ranked: list[str], relevant: frozenset[str]) -> None:
    for value in (recall_at(ranked, relevant, 10), reciprocal_rank(ranked, relevant), ndcg_at(ranked, relevant, 10)):
        assert 0 <= value <= 1 + 1e-9


@given(_RELEVANT)
def test_relevant_ids_first_is_perfect(relevant: frozenset[str]) -> None:
    ranked = sorted(relevant)
    assert recall_at(ranked, relevant, len(ranked)) == 1
    assert reciprocal_rank(ranked, relevant) == 1
    assert ndcg_at(ranked, relevant, 10) == pytest.approx(1)

import numpy as np
import pytest

from core.limits import ARM_DEPTH
from core.search.fusion import Arm, Fused, dense_weight, lend_to_neighbours, linear, rrf


def arm(*hits: tuple[int, float]) -> Arm:
    return (
        np.array([hit[0] for hit in hits], dtype=np.uint64),
        np.array([hit[1] for hit in hits], dtype=np.float32),
    )


def as_dict(fused: Fused) -> dict[int, float]:
    return {int(i): float(score) for i, score in zip(*fused, strict=True)}


def neighbours(*ids: int) -> np.ndarray:
    return np.array(ids, dtype=np.int64)


EMPTY = arm()


def test_rrf_adds_reciprocal_ranks() -> None:
    fused = rrf([arm((1, 9.0), (2, 8.0)), arm((2, 0.5), (3, 0.1))])
    assert fused[0].tolist() == [2, 1, 3]
    assert as_dict(fused) == pytest.approx({2: 1 / 62 + 1 / 61, 1: 1 / 61, 3: 1 / 62})


def test_rrf_of_nothing_is_nothing() -> None:
    assert rrf([])[0].size == 0
    assert rrf([EMPTY, EMPTY])[0].size == 0


def test_equal_scores_are_ordered_by_lower_id() -> None:
    assert rrf([arm((9, 1.0)), arm((4, 1.0))])[0].tolist() == [4, 9]


def test_linear_weighs_normalised_scores() -> None:
    fused = linear(arm((1, 0.9), (2, 0.5), (3, 0.1)), arm((3, 10.0), (2, 5.0)), weight_dense=0.4)
    assert as_dict(fused) == pytest.approx({1: 0.4, 2: 0.4 * 0.5 + 0.6 * 0.5, 3: 0.6})
    assert fused[0].tolist() == [3, 2, 1]


def test_the_last_of_a_full_text_arm_is_worth_nothing() -> None:
    full = arm(*((i, 200.0 - i) for i in range(ARM_DEPTH)))
    assert as_dict(linear(EMPTY, full))[ARM_DEPTH - 1] == 0.0
    assert as_dict(linear(EMPTY, arm((1, 4.0), (2, 1.0))))[2] == 0.25


def test_only_the_first_hits_take_part() -> None:
    long = arm(*((i, 500.0 - i) for i in range(ARM_DEPTH + 5)))
    assert linear(long, EMPTY)[0].size == ARM_DEPTH


@pytest.mark.parametrize("coverage", [0.0, 0.5, 1.0])
def test_an_arm_alone_has_all_the_weight(coverage: float) -> None:
    hits = arm((7, 0.8), (5, 0.2))
    assert as_dict(linear(hits, EMPTY, coverage=coverage)) == {7: 1.0, 5: 0.0}
    assert as_dict(linear(EMPTY, hits, coverage=coverage))[7] == 1.0


def test_a_query_the_model_cannot_read_is_ranked_by_text() -> None:
    fused = linear(arm((1, 0.9), (2, 0.1)), arm((2, 3.0), (1, 1.0)), coverage=0.0)
    assert fused[0].tolist() == [2, 1]


@pytest.mark.parametrize(("coverage", "weight"), [(1.0, 0.4), (0.5, 0.2), (0.0, 0.0), (7.0, 0.4), (-1.0, 0.0)])
def test_dense_weight(coverage: float, weight: float) -> None:
    assert dense_weight(0.4, coverage) == pytest.approx(weight)


def test_a_hit_lends_to_both_sides_once() -> None:
    found = (np.array([10, 20], dtype=np.uint64), np.array([1.0, 0.5]))
    fused = lend_to_neighbours(found, neighbours(9, 10), neighbours(20, -1), share=0.3)
    assert as_dict(fused) == pytest.approx({10: 1.0 + 0.15, 20: 0.5 + 0.3, 9: 0.3})
    assert fused[0].tolist() == [10, 20, 9]


def test_a_memory_between_two_hits_borrows_from_both() -> None:
    found = (np.array([1, 3], dtype=np.uint64), np.array([0.6, 0.6]))
    fused = lend_to_neighbours(found, neighbours(-1, 2), neighbours(2, -1), share=0.6)
    assert fused[0].tolist() == [2, 1, 3]


def test_without_sessions_nothing_changes() -> None:
    found = linear(arm((1, 0.9), (2, 0.5)), EMPTY)
    same = lend_to_neighbours(found, neighbours(-1, -1), neighbours(-1, -1))
    assert as_dict(same) == as_dict(found)


def test_neighbours_must_be_given_for_every_hit() -> None:
    with pytest.raises(ValueError, match="each fused hit"):
        lend_to_neighbours(linear(arm((1, 0.9)), EMPTY), neighbours(), neighbours(-1))

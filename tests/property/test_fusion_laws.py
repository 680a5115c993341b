import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from core.search.fusion import Arm, Fused, lend_to_neighbours, linear, rrf


@st.composite
def arms(draw: st.DrawFn) -> Arm:
    ids = draw(st.lists(st.integers(0, 60) | st.integers(2**62, 2**63 - 1), max_size=130, unique=True))
    levels = draw(st.lists(st.integers(1, 40), min_size=len(ids), max_size=len(ids)))  # few: ties are likely
    scores = np.sort(np.array(levels, dtype=np.float32))[::-1] / np.float32(4)
    return np.array(ids, dtype=np.uint64), scores


def ordered(fused: Fused) -> bool:
    ids, scores = fused
    pairs = list(zip((-scores).tolist(), ids.tolist(), strict=True))
    return pairs == sorted(pairs) and len(set(ids.tolist())) == ids.size


@given(arms(), arms())
def test_rrf_is_ordered_complete_and_blind_to_the_order_of_arms(one: Arm, two: Arm) -> None:
    fused = rrf([one, two])
    assert ordered(fused)
    assert set(fused[0].tolist()) == set(one[0].tolist()) | set(two[0].tolist())
    swapped = rrf([two, one])
    assert np.array_equal(fused[0], swapped[0])
    assert np.array_equal(fused[1], swapped[1])


@given(arms(), arms(), st.floats(0, 1), st.floats(0, 1))
def test_linear_is_ordered_and_stays_within_bounds(dense: Arm, text: Arm, weight: float, coverage: float) -> None:
    fused = linear(dense, text, weight, coverage)
    assert ordered(fused)
    assert ((fused[1] >= 0) & (fused[1] <= 1 + 1e-9)).all()


@given(arms(), arms(), st.integers(-8, 8))
def test_linear_ignores_the_scale_of_scores(dense: Arm, text: Arm, exponent: int) -> None:
    scaled = (dense[0], dense[1] * np.float32(2.0**exponent))  # powers of two, so that nothing is rounded
    plain, other = linear(dense, text), linear(scaled, text)
    assert np.array_equal(plain[0], other[0])
    assert np.array_equal(plain[1], other[1])


@given(arms(), st.data())
def test_lending_adds_exactly_what_is_lent(one: Arm, data: st.DataObject) -> None:
    fused = linear(one, (one[0][:0], one[1][:0]))
    ids = st.just(-1) | st.integers(0, 60)
    previous, following = (
        np.array(data.draw(st.lists(ids, min_size=fused[0].size, max_size=fused[0].size)), dtype=np.int64)
        for _ in range(2)
    )
    lent = lend_to_neighbours(fused, previous, following, share=0.3)
    assert ordered(lent)
    loans = 0.3 * (fused[1][previous >= 0].sum() + fused[1][following >= 0].sum())
    assert np.isclose(lent[1].sum(), fused[1].sum() + loans)

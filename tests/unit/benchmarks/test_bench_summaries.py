import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.summaries import bracketed_ratios, percentile, spread, thirds

_SAMPLES = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=200)


def test_a_percentile_is_the_nearest_rank() -> None:
    samples = [float(value) for value in range(1, 101)]
    assert [percentile(samples, share) for share in (0, 0.5, 0.95, 0.99, 1)] == [1, 50, 95, 99, 100]


def test_the_order_of_samples_does_not_matter() -> None:
    assert percentile([9.0, 1.0, 5.0], 0.5) == 5.0


@given(_SAMPLES, st.floats(0, 1))
def test_enough_samples_lie_at_or_below_a_percentile(samples: list[float], share: float) -> None:
    found = percentile(samples, share)
    assert found in samples
    assert sum(sample <= found for sample in samples) >= share * len(samples) - 1e-6


@pytest.mark.parametrize(("samples", "share"), [([], 0.5), ([1.0], -0.1), ([1.0], 1.1)])
def test_a_percentile_of_nothing_or_beyond_the_ends_is_refused(samples: list[float], share: float) -> None:
    with pytest.raises(ValueError, match=r"samples|share"):
        percentile(samples, share)


def test_a_spread_is_median_least_and_greatest() -> None:
    found = spread([3.0, 1.0, 2.0])
    assert (found.middle, found.low, found.high, found.count) == (2.0, 1.0, 3.0, 3)


def test_a_machine_that_slows_down_evenly_does_not_move_the_ratio() -> None:
    raw = [1_000.0, 800.0, 600.0]
    service = [0.9 * 900, 0.9 * 700]
    assert bracketed_ratios(raw, service) == pytest.approx([0.9, 0.9])


def test_each_inner_figure_needs_its_neighbours() -> None:
    with pytest.raises(ValueError, match="between"):
        bracketed_ratios([1.0], [1.0])


def test_thirds_are_medians_of_beginning_middle_and_end() -> None:
    assert thirds([1, 1, 5, 6, 7, 9, 9]) == (1, 6, 9)


@given(_SAMPLES)
def test_thirds_of_any_series_lie_within_it(samples: list[float]) -> None:
    assert all(min(samples) <= third <= max(samples) for third in thirds(samples))

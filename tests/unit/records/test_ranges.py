"""What claimed ranges leave free."""

from hypothesis import given
from hypothesis import strategies as st

from core.records.ranges import Range, gaps_between

bounds = st.lists(st.integers(0, 60), unique=True, max_size=12).map(sorted)


@given(bounds)
def test_every_row_is_in_a_claimed_range_or_in_a_gap(cuts):
    claimed = [Range(first, last) for first, last in zip(cuts[::2], cuts[1::2], strict=False)]
    gaps = gaps_between(claimed)

    for row in range(70):
        homes = [each for each in [*claimed, *gaps] if each.first <= row <= each.last]
        assert len(homes) == 1
    assert gaps == sorted(gaps, key=lambda gap: gap.first)


def test_nothing_claimed_leaves_everything():
    [gap] = gaps_between([])
    assert (gap.first, gap.last) == (0, 2**63 - 1)

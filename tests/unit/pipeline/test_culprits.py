"""Halving finds the rows that do not build, and those alone."""

from hypothesis import given
from hypothesis import strategies as st

from core.pipeline.building import culprits


@given(
    st.integers(1, 200).flatmap(lambda size: st.tuples(st.just(size), st.sets(st.integers(0, size - 1), min_size=1)))
)
def test_the_rows_that_do_not_build_are_found_in_order(given_rows):
    size, bad = given_rows
    tried = []

    def builds(rows):
        tried.append(len(rows))
        return bad.isdisjoint(rows)

    assert culprits(range(size), builds) == sorted(bad)
    assert len(tried) <= 2 * len(bad) * (size - 1).bit_length()


def test_rows_that_only_fail_together_name_no_culprit():
    assert culprits(range(8), lambda rows: len(rows) < 8) == []

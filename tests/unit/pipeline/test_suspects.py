"""Which rows are tried after deaths: the suspicion narrows to one row, and never loses the one to be found."""

from hypothesis import given
from hypothesis import strategies as st

from core.pipeline.suspects import IN_COMPANY, rows_to_try

ROWS = st.lists(st.integers(1, 10_000), min_size=1, max_size=300, unique=True).map(sorted)


@given(ROWS, st.integers(0, IN_COMPANY - 1), st.integers(0, 10_000))
def test_nobody_is_suspected_at_first(waiting, deaths, end):
    assert rows_to_try(waiting, deaths, end) == (waiting, True)


@given(ROWS, st.integers(IN_COMPANY, 50), st.integers(0, 10_001))
def test_the_first_quarter_of_the_suspected_is_tried(waiting, deaths, end):
    tried, last = rows_to_try(waiting, deaths, end)
    suspected = [row for row in waiting if row <= end] or waiting
    assert tried == waiting[: len(tried)]
    assert 0 < len(tried) <= len(suspected)
    assert last == (tried == suspected)
    if suspected != waiting or end >= waiting[-1]:
        assert len(tried) == max(1, len(suspected) // 4)


@given(ROWS, st.data())
def test_the_one_that_kills_is_alone_before_long(waiting, data):
    culprit = data.draw(st.sampled_from(waiting))
    deaths, end, tries = IN_COMPANY, waiting[-1], 0
    while True:
        tried, last = rows_to_try(waiting, deaths, end)
        tries += 1
        assert tries < 100
        if culprit not in tried:
            assert not last
            waiting = [row for row in waiting if row not in tried]
        elif tried == [culprit]:
            break
        else:
            deaths, end = deaths + 1, tried[-1]
    assert deaths <= IN_COMPANY + 5

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.clock import now_us, to_datetime, to_us

moments = st.datetimes(
    min_value=datetime(1, 1, 2),  # noqa: DTZ001 - the strategy adds the zone
    max_value=datetime(9999, 12, 30),  # noqa: DTZ001
    timezones=st.integers(-1_439, 1_439).map(lambda minutes: timezone(timedelta(minutes=minutes))),
)


@given(moments)
def test_a_moment_survives_to_the_microsecond(moment):
    assert to_datetime(to_us(moment)) == moment
    assert to_datetime(to_us(moment)).tzinfo is UTC


@given(moments, moments)
def test_order_is_kept(one, two):
    assert (to_us(one) < to_us(two)) == (one < two)


@pytest.mark.parametrize(
    ("text", "us"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1969-12-31T23:59:59.999999Z", -1),
        ("2026-11-22T10:00:00.000001+05:30", 1_795_321_800_000_001),
    ],
)
def test_known_moments(text, us):
    assert to_us(datetime.fromisoformat(text)) == us


def test_a_naive_moment_is_refused():
    with pytest.raises(TypeError):
        to_us(datetime(2026, 1, 1))  # noqa: DTZ001


def test_now_is_an_integer_of_this_century():
    assert datetime(2020, 1, 1, tzinfo=UTC) < to_datetime(now_us()) < datetime(2100, 1, 1, tzinfo=UTC)

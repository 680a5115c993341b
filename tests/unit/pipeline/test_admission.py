"""What a caller is told whose write does not fit."""

import pytest

from core.errors import Busy, TooLarge
from core.pipeline.admission import refusal, retry_after_s
from core.records.backlog import Load

BOUND = Load(100, 10_000)
NONE = Load()


@pytest.mark.parametrize(
    ("excess", "drain", "after_s"),
    [
        (Load(50, -1), Load(10, 0), 5),
        (Load(-1, 3_000), Load(0, 100), 30),
        (Load(50, 3_000), Load(10, 100), 30),  # room by both measures
        (Load(50, 3_000), Load(2, 1_000), 25),
        (Load(1, 1), Load(1_000, 1_000), 1),  # never sooner than a second
        (Load(1_000_000, 0), Load(10, 10), 60),  # never later than a minute
        (Load(1, 0), NONE, 60),  # nothing leaves
        (Load(1, 1), Load(10, 0), 60),
    ],
)
def test_the_time_to_come_back_is_when_there_will_be_room(excess, drain, after_s):
    assert retry_after_s(excess, drain) == after_s


def test_what_finds_no_room_is_told_when_to_come_back():
    told = refusal(Load(80, 0), Load(40, 0), BOUND, Load(4, 0))
    assert isinstance(told, Busy)
    assert (told.reason, told.retry_after_s) == ("queue_full", 5)


@pytest.mark.parametrize("wanted", [Load(101, 1), Load(1, 10_001)])
def test_what_can_never_fit_is_told_to_be_smaller(wanted):
    assert isinstance(refusal(NONE, wanted, BOUND, NONE), TooLarge)


def test_a_load_exceeds_a_bound_by_rows_or_by_bytes():
    assert not BOUND.exceeds(BOUND)
    assert (BOUND + Load(1, 0)).exceeds(BOUND)
    assert (BOUND + Load(-50, 1)).exceeds(BOUND)
    assert not (BOUND - Load(1, 1)).exceeds(BOUND)

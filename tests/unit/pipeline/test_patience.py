"""What failed is tried again later, and later still, but never later than a bound."""

import pytest

from core.pipeline.patience import Patience

SECOND = 1_000_000


class Clock:
    def __init__(self) -> None:
        self.now = 10**15

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def patience(clock, rng) -> Patience:
    return Patience(clock, rng)


def test_what_never_failed_is_allowed(patience):
    assert patience.allows("anything")


def test_a_failure_holds_up_that_work_and_no_other(patience, clock):
    waits = []
    while not waits or waits[-1] == 0:
        waits.append(patience.failed("flush"))
    assert not patience.allows("flush")
    assert patience.allows("compact")
    clock.now += int(waits[-1] * SECOND)
    assert patience.allows("flush")


def test_waits_grow_up_to_a_bound(patience):
    waits = [patience.failed("flush") for _ in range(40)]
    assert waits[0] <= 2
    assert max(waits[:4]) < max(waits[20:])
    assert max(waits) <= 300


def test_success_forgets(patience):
    for _ in range(30):
        patience.failed("flush")
    patience.succeeded("flush")
    assert patience.allows("flush")
    assert patience.failed("flush") <= 2
    patience.succeeded("never failed")


def test_a_clock_that_was_set_back_holds_nothing_up(patience, clock):
    for _ in range(30):
        patience.failed("flush")
    clock.now -= 86_400 * SECOND
    assert patience.allows("flush")

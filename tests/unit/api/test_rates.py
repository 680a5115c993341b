"""Rates: so many at once, then at the rate, each name by itself."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.addresses import address_block, is_loopback
from api.rates import Rates


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


def test_a_burst_then_the_rate():
    clock = Clock()
    rates = Rates(10, clock)
    assert [rates.take("a", 2, 3).remaining for _ in range(3)] == [2, 1, 0]
    refused = rates.take("a", 2, 3)
    assert (refused.allowed, refused.retry_after_s, refused.reset_s) == (False, 0.5, 1.5)
    assert rates.take("b", 2, 3).allowed
    clock.now += refused.retry_after_s
    assert rates.take("a", 2, 3).allowed
    assert not rates.take("a", 2, 3).allowed
    clock.now += 60
    assert rates.take("a", 2, 3).remaining == 2


@given(st.lists(st.floats(0, 3), max_size=60), st.sampled_from([0.5, 1.0, 7.0]), st.integers(1, 5))
def test_never_more_than_the_burst_and_the_rate(pauses, per_s, burst):
    clock = Clock()
    rates = Rates(10, clock)
    allowed = 0
    for pause in pauses:
        clock.now += pause
        allowed += rates.take("a", per_s, burst).allowed
        assert allowed <= burst + (clock.now - Clock.now) * per_s + 1e-6


def test_only_so_many_names_are_kept():
    rates = Rates(100, Clock())
    for name in range(1_000):
        rates.take(str(name), 1, 1)
    assert len(rates._paid_off) == 100


def test_the_fields_of_an_answer():
    assert Rates(1, Clock()).take("a", 0.5, 1).headers() == {
        "RateLimit-Limit": "1",
        "RateLimit-Remaining": "0",
        "RateLimit-Reset": "2",
    }


@pytest.mark.parametrize(
    ("address", "block"),
    [
        ("10.1.2.3", "10.1.2.3"),
        ("::ffff:10.1.2.3", "10.1.2.3"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("local", "local"),
    ],
)
def test_what_failures_are_counted_by(address, block):
    assert address_block(address) == block


def test_no_name_of_ours_is_loopback_by_its_look():
    assert not any(is_loopback(host) for host in ("localhost.evil.example", "127.0.0.1.evil.example", "0.0.0.0", ""))

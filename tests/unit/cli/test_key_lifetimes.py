"""Lifetimes on the command line, and which addresses count as this machine's own."""

import pytest

from api.addresses import is_loopback
from cli.keys import parse_lifetime_us
from core.errors import InvalidInput


@pytest.mark.parametrize(("text", "minutes"), [("30m", 30), ("12h", 720), ("90d", 129_600), ("999999d", 1_439_998_560)])
def test_lifetimes(text, minutes):
    assert parse_lifetime_us(text) == minutes * 60_000_000


@pytest.mark.parametrize("text", ["", "90", "d", "0d", "-1d", "1.5h", "1w", "90d ", "1000000d", "\u0661d", "1d\n"])
def test_impossible_lifetimes(text):
    with pytest.raises(InvalidInput):
        parse_lifetime_us(text)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_loopback(host):
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "10.0.0.1", "example.com", "", "localhost.example.com", "::ffff:8.8.8.8"]
)
def test_reachable_from_elsewhere(host):
    assert not is_loopback(host)

"""Forwarded addresses: believed from trusted proxies, read from the right, and nobody else's."""

import asyncio
import ipaddress

import pytest

from api.proxies import TrustedProxies

TRUSTED = tuple(map(ipaddress.ip_network, ("10.0.0.0/8", "192.0.2.7/32", "fd00::/8")))


def seen(peer, *forwarded, scheme=()):
    """Return the client and the scheme that the application sees."""
    found = {}

    async def app(scope, receive, send):
        found.update(scope)

    headers = [(b"x-forwarded-for", value.encode("latin-1")) for value in forwarded]
    headers += [(b"x-forwarded-proto", value.encode()) for value in scheme]
    scope = {"type": "http", "scheme": "http", "client": peer and (peer, 5), "headers": headers}
    asyncio.run(TrustedProxies(app, TRUSTED)(scope, None, None))
    return found["client"] and found["client"][0], found["scheme"]


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("192.0.2.7", ["198.51.100.1"], "198.51.100.1"),
        ("10.1.2.3", ["198.51.100.1, 10.9.9.9"], "198.51.100.1"),
        ("10.1.2.3", ["6.6.6.6, 198.51.100.1, 10.9.9.9"], "198.51.100.1"),
        ("10.1.2.3", ["6.6.6.6", "198.51.100.1"], "198.51.100.1"),
        ("::ffff:10.1.2.3", ["198.51.100.1"], "198.51.100.1"),
        ("fd00::1", ["2001:db8::5"], "2001:db8::5"),
        ("10.1.2.3", ["10.9.9.9"], "10.9.9.9"),
        ("10.1.2.3", ["6.6.6.6, unknown"], "10.1.2.3"),
        ("10.1.2.3", ["6.6.6.6, unknown, 10.9.9.9"], "10.9.9.9"),
        ("10.1.2.3", [""], "10.1.2.3"),
        ("10.1.2.3", ["\xff\x00"], "10.1.2.3"),
        ("10.1.2.3", [], "10.1.2.3"),
        ("198.51.100.9", ["6.6.6.6"], "198.51.100.9"),
        ("192.0.2.8", ["10.0.0.1"], "192.0.2.8"),
        ("", ["6.6.6.6"], ""),
        (None, ["6.6.6.6"], None),
    ],
)
def test_the_client_is_the_last_hop_that_is_no_proxy_of_ours(peer, forwarded, client):
    assert seen(peer, *forwarded)[0] == client


@pytest.mark.parametrize(
    ("peer", "given", "scheme"),
    [
        ("10.1.2.3", ["https"], "https"),
        ("10.1.2.3", ["HTTPS "], "https"),
        ("10.1.2.3", ["ftp"], "http"),
        ("10.1.2.3", ["https", "http"], "http"),
        ("198.51.100.9", ["https"], "http"),
    ],
)
def test_the_scheme_is_what_one_proxy_of_ours_says(peer, given, scheme):
    assert seen(peer, scheme=given)[1] == scheme

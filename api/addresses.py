"""Where a request comes from, and what addresses mean."""

import ipaddress

from starlette.types import Scope

_IPV6_PREFIX = 64  # what one customer gets, at least


def client_address(scope: Scope) -> str:
    """Return the address at the other end of the connection; what headers say of it counts for nothing."""
    client = scope.get("client")
    return str(client[0]) if client else "local"


def address_block(address: str) -> str:
    """Return what failures are counted by: an IPv4 address, or the /64 of an IPv6 one."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((int(parsed), _IPV6_PREFIX), strict=False))


def is_loopback(host: str) -> bool:
    """Say whether a host's name or address is reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

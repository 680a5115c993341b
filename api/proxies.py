"""Who is calling through a proxy: believed from the proxies that the settings name, and from nobody else."""

import ipaddress
from collections.abc import Sequence
from typing import Any, Final

from starlette.types import ASGIApp, Receive, Scope, Send

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_SCHEMES: Final = frozenset({b"http", b"https"})


class TrustedProxies:
    """Puts the client in the place of the peer, where the peer is a proxy that the settings trust.

    ``X-Forwarded-For`` is read from the right, since each proxy appends its peer: the first address that is no trusted
    proxy is the client, and whatever stands to its left was written by the client itself. From other peers, and over
    Unix sockets, both headers mean nothing.
    """

    def __init__(self, app: ASGIApp, trusted: Sequence[Network]) -> None:
        self._app = app
        self._trusted = trusted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with its true client and scheme."""
        peer = scope.get("client")
        if peer and self._trusts(_address(peer[0])):
            scope = {**scope, **self._forwarded(scope)}
        await self._app(scope, receive, send)

    def _forwarded(self, scope: Scope) -> dict[str, Any]:
        """Return what the proxy says of the request."""
        said: dict[str, Any] = {}
        schemes = [value.strip().lower() for name, value in scope["headers"] if name == b"x-forwarded-proto"]
        if len(schemes) == 1 and schemes[0] in _SCHEMES:
            said["scheme"] = schemes[0].decode()
        hops = b",".join(value for name, value in scope["headers"] if name == b"x-forwarded-for")
        for hop in reversed(hops.split(b",")):
            address = _address(hop.decode("latin-1").strip())
            if address is None:  # a proxy of ours writes addresses: whatever this is, it is none of a client
                break
            said["client"] = (str(address), 0)
            if not self._trusts(address):
                break
        return said

    def _trusts(self, address: _Address | None) -> bool:
        return address is not None and any(address in network for network in self._trusted)


def _address(text: str) -> _Address | None:
    """Return an address; one of IPv4 that came over an IPv6 socket is the same as itself."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, ipaddress.IPv6Address) else address

"""From a planned request to one that httpx sends. Nothing here logs.

We use httpx's transports, not its clients: a client logs every URL, and ours may hold names and filters.
"""

from typing import Final

import httpx

from ostraka.plans import Request

DEFAULT_URL: Final = "http://127.0.0.1:3300"
DEFAULT_TIMEOUT_S: Final = 30.0


class Wire:
    """Where the server is and who we are; turns planned requests into HTTP ones.

    Raises ``ValueError`` for a ``url`` that is not http or https.
    """

    def __init__(self, url: str, api_key: str | None, timeout_s: float) -> None:
        self._base = httpx.URL(url.rstrip("/"))
        if self._base.scheme not in {"http", "https"} or not self._base.host:
            raise ValueError(f"url: must be like {DEFAULT_URL}")
        self._timeout_s = timeout_s
        self._headers = {"Accept": "application/json", "User-Agent": "ostraka-python"}
        if api_key is not None:
            self._headers["Authorization"] = f"Bearer {api_key}"

    def __repr__(self) -> str:
        """Show where, never the key."""
        return f"Wire({str(self._base)!r})"

    def build(self, planned: Request) -> httpx.Request:
        """Return the HTTP request."""
        headers = dict(self._headers)
        if planned.body is not None:
            headers["Content-Type"] = planned.content_type
        if planned.idempotency_key is not None:
            headers["Idempotency-Key"] = planned.idempotency_key
        if planned.hint is not None:
            headers["X-Ostraka-Namespace"] = planned.hint
        timeout = httpx.Timeout(self._timeout_s, read=self._timeout_s + planned.wait_s)
        return httpx.Request(
            planned.method,
            f"{self._base}{planned.path}",
            params=planned.query or None,
            headers=headers,
            content=planned.body,
            extensions={"timeout": timeout.as_dict()},
        )

"""A bound on what comes before the body: fields and parameters."""

from starlette.types import ASGIApp, Receive, Scope, Send

from api.problems import problem
from core import limits


class HeadLimit:
    """Answers 431 to too many or too large fields, 414 to too many parameters."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, if its head is within the limits."""
        await (_refusal(scope) or self._app)(scope, receive, send)


def _refusal(scope: Scope) -> ASGIApp | None:
    if scope["type"] != "http":
        return None
    headers = scope["headers"]
    if len(headers) > limits.HEADERS_MAX:
        return problem(431, "head_too_large", f"more than {limits.HEADERS_MAX} header fields; send fewer")
    if sum(len(name) + len(value) for name, value in headers) > limits.HEADERS_BYTES_MAX:
        return problem(431, "head_too_large", f"the header is larger than {limits.HEADERS_BYTES_MAX} bytes; send less")
    if scope["query_string"].count(b"&") >= limits.PARAMETERS_MAX:
        return problem(414, "url_too_long", f"the URL has more than {limits.PARAMETERS_MAX} parameters; send fewer")
    return None

"""A bound on every request body, enforced while it arrives."""

from contextlib import suppress
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import problem
from core import limits

_LARGE_PATHS: Final = frozenset({"/v1/memory/bulk"})


class BodyLimit:
    """Answers 413 to a body beyond its path's limit, whether its length was declared or not."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, counting its bytes."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = limits.BULK_BODY_BYTES_MAX if scope["path"] in _LARGE_PATHS else limits.BODY_BYTES_MAX
        declared = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        if not declared.isdigit() or int(declared) > limit:
            await _refuse(limit)(scope, receive, send)
            return
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > limit:
                raise _BodyTooLargeError
            return message

        async def guarded(message: Message) -> None:
            if seen <= limit:  # beyond it, what the application makes of the error is not the answer
                await send(message)

        with suppress(_BodyTooLargeError):
            await self._app(scope, counted, guarded)
        if seen > limit:
            await _refuse(limit)(scope, receive, send)


class _BodyTooLargeError(Exception):
    """The body outgrew its limit while it was read."""


def _refuse(limit: int) -> ASGIApp:
    return problem(413, "too_large", f"the body is larger than {limit} bytes; send less at a time")

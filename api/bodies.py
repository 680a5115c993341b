"""Bounds on every request body, enforced while it arrives: its size, its time, its encoding."""

import asyncio
from contextlib import suppress
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import problem
from core import limits

_LARGE_PATHS: Final = frozenset({"/v1/memory/bulk"})


class BodyLimit:
    """Answers 413 to a body beyond its path's limit, declared or not, 408 to a slow one, 415 to a compressed one."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, counting its bytes and its time."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        large = scope["path"] in _LARGE_PATHS
        limit = limits.BULK_BODY_BYTES_MAX if large else limits.BODY_BYTES_MAX
        headers = dict(scope["headers"])
        if headers.get(b"content-encoding", b"identity").lower() != b"identity":
            await problem(415, "encoded_body", "content-encoding: send the body as it is")(scope, receive, send)
            return
        declared = headers.get(b"content-length", b"0")
        if not declared.isdigit() or int(declared) > limit:
            await _too_large(limit)(scope, receive, send)
            return
        deadline = asyncio.get_running_loop().time() + (limits.BULK_BODY_S_MAX if large else limits.BODY_S_MAX)
        arriving, seen = True, 0
        refusal: ASGIApp | None = None

        async def bounded() -> Message:
            nonlocal arriving, seen, refusal
            try:
                # What comes after the body is the caller's leaving, and may take as long as the answer does.
                async with asyncio.timeout_at(deadline if arriving else None):
                    message = await receive()
            except TimeoutError:
                refusal = _too_slow()
                raise _BodyRefusedError from None
            arriving = message.get("more_body", False)
            seen += len(message.get("body", b""))
            if seen > limit:
                refusal = _too_large(limit)
                raise _BodyRefusedError
            return message

        async def guarded(message: Message) -> None:
            if refusal is None:  # else what the application makes of the error is not the answer
                await send(message)

        with suppress(_BodyRefusedError):
            await self._app(scope, bounded, guarded)
        if refusal is not None:
            await refusal(scope, receive, send)


class _BodyRefusedError(Exception):
    """The body outgrew its limit or its time while it was read."""


def _too_large(limit: int) -> ASGIApp:
    return problem(413, "too_large", f"the body is larger than {limit} bytes; send less at a time")


def _too_slow() -> ASGIApp:
    headers = {"Connection": "close"}
    return problem(408, "too_slow", "the body took too long to arrive; send less at a time", headers=headers)

"""Names in paths: a slash within a name travels as ``%2F`` and must not part the name in two.

Servers decode a path whole before it is routed. Here each segment is decoded by itself and a slash in it marked;
the mark is undone where the name is read.
"""

from typing import Annotated, Any, Final
from urllib.parse import unquote

from pydantic import BeforeValidator
from starlette.types import ASGIApp, Receive, Scope, Send

from core.memory import Name

_SLASH: Final = "\udc2f"  # a lone surrogate: decoding never makes one


class ExactSegments:
    """Keeps encoded slashes apart from those that part segments."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, its path decoded segment by segment."""
        raw: bytes = scope.get("raw_path") or b""
        if b"%2f" in raw.lower():
            segments = raw.decode("ascii", "replace").split("/")
            scope = {**scope, "path": "/".join(unquote(segment).replace("/", _SLASH) for segment in segments)}
        await self._app(scope, receive, send)


def _restore(value: Any) -> Any:
    return value.replace(_SLASH, "/") if isinstance(value, str) else value


PathText = Annotated[str, BeforeValidator(_restore)]
PathName = Annotated[Name, BeforeValidator(_restore)]

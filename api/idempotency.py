"""The Idempotency-Key header: the same key with the same request is one write."""

import hashlib
from typing import Any, Final

from fastapi import Request
from starlette.responses import Response

from core import limits
from core.errors import InvalidInput
from core.records.company import Namespace
from core.records.writes import Accepted, Idempotency

_HEADER: Final = "Idempotency-Key"
PARAMETER: Final[dict[str, Any]] = {
    "name": _HEADER,
    "in": "header",
    "required": False,
    "description": "Requests with the same key are one write and get the same answer.",
    "schema": {"type": "string", "minLength": 1, "maxLength": limits.IDEMPOTENCY_KEY_CHARS_MAX},
}


_REPLAYED: Final = "Idempotent-Replayed"
REPLAYED: Final[dict[str, Any]] = {
    "headers": {
        _REPLAYED: {
            "description": "`true` where an earlier request with this key did it: this one wrote nothing.",
            "schema": {"type": "string", "enum": ["true"]},
        }
    }
}


def replayed(answer: Response, accepted: Accepted) -> Response:
    """Return the answer, saying whether an earlier request wrote what it tells of."""
    if accepted.repeated:
        answer.headers[_REPLAYED] = "true"
    return answer


def idempotency(request: Request, namespace: Namespace, body: bytes) -> Idempotency | None:
    """Return the request's idempotency, or ``None`` when the caller sent no key. Raises ``InvalidInput``."""
    key = request.headers.get(_HEADER)
    if key is None:
        return None
    if not 0 < len(key) <= limits.IDEMPOTENCY_KEY_CHARS_MAX:
        most = limits.IDEMPOTENCY_KEY_CHARS_MAX
        raise InvalidInput(f"{_HEADER}: must have 1 to {most} characters", field=_HEADER)
    digest = hashlib.sha256(request.url.path.encode() + b"\0" + body).hexdigest()
    # Kept as an HMAC: a plain digest would let a reader of the disk try out guesses of what was sent.
    return Idempotency(namespace.key.handle("idempotency", key), namespace.key.handle("request", digest))

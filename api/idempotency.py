"""The Idempotency-Key header: the same key with the same request is one write."""

import hashlib
from typing import Annotated

from fastapi import Header, Request

from core import limits
from core.records.company import Namespace
from core.records.writes import Idempotency

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=limits.IDEMPOTENCY_KEY_CHARS_MAX,
        description="Requests with the same key are one write and get the same answer.",
    ),
]


async def idempotency(request: Request, namespace: Namespace, key: str | None) -> Idempotency | None:
    """Return the request's idempotency, or ``None`` when the caller sent no key."""
    if key is None:
        return None
    digest = hashlib.sha256(request.url.path.encode() + b"\0" + await request.body()).digest()
    return Idempotency(namespace.key.handle("idempotency", key), digest)

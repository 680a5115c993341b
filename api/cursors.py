"""Cursors: where the next page begins. Opaque to callers, checked when they come back."""

import base64
import binascii

from core.errors import InvalidInput

_ROW_MAX = 2**63 - 1


def encode_cursor(row: int) -> str:
    """Return the cursor behind a row."""
    return base64.urlsafe_b64encode(row.to_bytes(8, "big")).decode().rstrip("=")


def decode_cursor(cursor: str | None) -> int | None:
    """Return the row of a cursor. Raises ``InvalidInput`` when it is not one of ours."""
    if cursor is None:
        return None
    try:
        raw = base64.b64decode(cursor + "=", altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    row = int.from_bytes(raw, "big")
    if len(raw) != 8 or row > _ROW_MAX:
        raise InvalidInput("cursor: is not one that a page gave; start again without it", field="cursor")
    return row

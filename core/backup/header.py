"""The head of a backup, in the clear: whose it is, and which key opens it.

    backup := head | sealed file
    head   := magic (8 bytes, "OSTRAKB" 0x01) | length (u32, big-endian) | JSON

The sealed file's address holds the head's hash, so a head that was changed opens nothing.
"""

import base64
import hashlib
import struct
from dataclasses import dataclass
from typing import BinaryIO, Final

import orjson

from core.errors import IntegrityError

_MAGIC: Final = b"OSTRAKB"
_VERSION: Final = b"\x01"
_LENGTH: Final = struct.Struct(">I")
_JSON_BYTES_MAX: Final = 4_096


@dataclass(frozen=True)
class Header:
    """What a backup says of itself to anybody."""

    backup: str
    created_at: int
    store: str
    master_key: str  # the id of the key that it needs
    companies: int
    wrapped_key: bytes

    def to_bytes(self) -> bytes:
        """Return the head."""
        wrapped = base64.b64encode(self.wrapped_key).decode()
        text = orjson.dumps({**self.__dict__, "wrapped_key": wrapped})
        return _MAGIC + _VERSION + _LENGTH.pack(len(text)) + text


def read_header(source: BinaryIO) -> tuple[Header, bytes]:
    """Read the head; return it and its bytes. Raises ``IntegrityError`` when this is no backup, or damaged."""
    start = source.read(len(_MAGIC) + 1 + _LENGTH.size)
    if not start.startswith(_MAGIC):
        raise IntegrityError("this is no Ostraka backup, or its beginning was damaged")
    if start[len(_MAGIC) : len(_MAGIC) + 1] != _VERSION:
        raise IntegrityError("this backup has a format that this server does not know; use the newer server")
    if len(start) < len(_MAGIC) + 1 + _LENGTH.size:
        raise IntegrityError("the backup is truncated")
    (length,) = _LENGTH.unpack(start[-_LENGTH.size :])
    text = source.read(min(length, _JSON_BYTES_MAX))
    try:
        return _parse(text, length), start + text
    except (ValueError, TypeError, KeyError, AttributeError):
        raise IntegrityError("the head of the backup was changed or truncated") from None


def head_hash(head: bytes) -> str:
    """Return what binds the sealed file to its head."""
    return hashlib.sha256(head).hexdigest()


def _parse(text: bytes, length: int) -> Header:
    fields = orjson.loads(text) if len(text) == length else {}
    kinds = {"backup": str, "created_at": int, "store": str, "master_key": str, "companies": int, "wrapped_key": str}
    if {name: type(value) for name, value in fields.items()} != kinds:
        raise ValueError
    return Header(**{**fields, "wrapped_key": base64.b64decode(fields["wrapped_key"], validate=True)})

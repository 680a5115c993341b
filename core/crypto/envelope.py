"""Sealed values: one AES-256-GCM envelope around each secret column, bound to the place it belongs to.

    envelope := version (1 byte, 0x01) | key version (u32, big-endian) | nonce (12 bytes) | ciphertext | tag (16)

The additional authenticated data is the value's address (purpose, company, namespace, row, column), so an
envelope that is copied to another row, column or tenant does not open. ``docs/FORMAT.md`` is normative.
"""

import secrets
import struct
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from core.errors import IntegrityError, WrongKey

_HEAD = struct.Struct(">BI")
_VERSION = 1
_NONCE_BYTES = 12
_TAG_BYTES = 16
OVERHEAD_BYTES = _HEAD.size + _NONCE_BYTES + _TAG_BYTES


def address(*parts: str | int) -> bytes:
    """Return an unambiguous encoding of an address: each part as UTF-8 behind its u32 length."""
    encoded = (str(part).encode() for part in parts)
    return b"".join(len(part).to_bytes(4, "big") + part for part in encoded)


def derive(secret: bytes, purpose: str) -> bytes:
    """Return 32 key bytes for one purpose (HKDF-SHA256, RFC 5869; the purpose is the info)."""
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=purpose.encode()).derive(secret)


def head_of(key_version: int) -> bytes:
    """Return how every envelope of a key version begins."""
    return _HEAD.pack(_VERSION, key_version)


def key_version_of(envelope: bytes) -> int:
    """Return the key version that an envelope names. Raises ``IntegrityError`` when it is none."""
    if len(envelope) < OVERHEAD_BYTES:
        raise IntegrityError("a sealed value is truncated")
    version, key_version = _HEAD.unpack_from(envelope)
    if version != _VERSION:
        raise IntegrityError("a sealed value has an unknown format version")
    return int(key_version)


@dataclass(frozen=True, repr=False)
class Sealer:
    """Seals and opens values under one key. Stateless and safe to share between threads."""

    key: bytes
    key_version: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "_aead", AESGCM(self.key))

    def seal(self, plaintext: bytes, where: bytes) -> bytes:
        """Return the envelope of ``plaintext`` for the address ``where``."""
        head = head_of(self.key_version)
        nonce = secrets.token_bytes(_NONCE_BYTES)
        aead: AESGCM = self._aead  # type: ignore[attr-defined] # set in __post_init__ of a frozen class
        return head + nonce + aead.encrypt(nonce, plaintext, head + where)

    def open(self, envelope: bytes, where: bytes) -> bytes:
        """Return the plaintext sealed for ``where``.

        Raises ``WrongKey`` when the envelope names another key version, ``IntegrityError`` when it was changed,
        truncated or moved.
        """
        if key_version_of(envelope) != self.key_version:
            raise WrongKey("a sealed value names another version of its key")
        aead: AESGCM = self._aead  # type: ignore[attr-defined] # set in __post_init__ of a frozen class
        body = _HEAD.size + _NONCE_BYTES
        try:
            return aead.decrypt(envelope[_HEAD.size : body], envelope[body:], envelope[: _HEAD.size] + where)
        except InvalidTag:
            raise IntegrityError("a sealed value failed authentication: changed, moved, or another key") from None

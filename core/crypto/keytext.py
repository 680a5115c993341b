"""The master key as text: 32 bytes in base64, on one line."""

import base64

from core.crypto.keys import MASTER_KEY_BYTES, MasterKey
from core.errors import ConfigurationError


def decode_key(text: str | bytes, source: str) -> MasterKey:
    """Return the key that a text holds. Raises ``ConfigurationError`` naming the source, never quoting it."""
    try:
        secret = base64.b64decode(text.strip(), validate=True)
    except ValueError:  # not base64, or not even ASCII
        secret = b""
    if len(secret) != MASTER_KEY_BYTES:
        raise ConfigurationError(f"{source}: a master key is {MASTER_KEY_BYTES} bytes in base64; correct it")
    return MasterKey(secret)


def encode_key(key: MasterKey) -> bytes:
    """Return the text of a key, as it lies in a file."""
    return base64.b64encode(key.secret) + b"\n"

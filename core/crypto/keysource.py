"""Where the master key comes from: the environment, a file, or, on the very first start, a fresh one.

A generated key lies outside the data directory (a stolen disk image of the data must not carry it), mode 0600.
When data exists and no key is found the start is refused: a new key could not open it.
"""

import base64
import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from platformdirs import user_config_path

from core.crypto.keys import MasterKey
from core.durability import make_durable_directory, sync
from core.errors import ConfigurationError

ENV_VARIABLE = "OSTRAKA_ENCRYPTION_KEY"
_KEY_BYTES = 32


def find_master_key(key_file: Path | None, store_id: str, environment: Mapping[str, str]) -> MasterKey | None:
    """Return the configured or earlier generated master key, or ``None`` when there is none.

    Raises ``ConfigurationError`` when the one configured cannot be used.
    """
    if text := environment.get(ENV_VARIABLE):
        return _decode(text, ENV_VARIABLE)
    path = key_file or generated_key_path(store_id)
    if not path.exists():
        if key_file is not None:
            raise ConfigurationError(f"[storage] key_file: there is no file {key_file}; create it or unset it")
        return None
    if path.stat().st_mode & 0o077:
        raise ConfigurationError(f"the key file {path} is readable by others; run chmod 600 on it")
    try:
        return _decode(path.read_bytes(), str(path))
    except OSError as error:
        raise ConfigurationError(f"the key file {path} cannot be read: {error.strerror}; correct it") from None


def generate_master_key(store_id: str) -> tuple[MasterKey, Path]:
    """Create the master key of a new store and return it with the file it now lies in (mode 0600, fsynced)."""
    path = generated_key_path(store_id)
    make_durable_directory(path.parent)
    key = MasterKey(secrets.token_bytes(_KEY_BYTES))
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as out:
        out.write(base64.b64encode(key.secret) + b"\n")
        out.flush()
        os.fsync(out.fileno())
    sync(path.parent)
    return key, path


def generated_key_path(store_id: str) -> Path:
    """Return where the generated key of a store lies."""
    return user_config_path("ostraka") / "keys" / f"{store_id}.key"


def _decode(text: str | bytes, source: str) -> MasterKey:
    try:
        secret = base64.b64decode(text.strip(), validate=True)
    except ValueError:  # not base64, or not even ASCII
        secret = b""
    if len(secret) != _KEY_BYTES:
        raise ConfigurationError(f"{source}: a master key is {_KEY_BYTES} bytes in base64; correct it")
    return MasterKey(secret)

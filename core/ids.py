"""Opaque public ids: a prefix that says the kind, and 128 random bits that say nothing."""

import base64
import secrets


def new_id(prefix: str) -> str:
    """Return ``<prefix>_`` and 26 lower-case base32 characters, e.g. ``mem_4kq…``."""
    return f"{prefix}_{base64.b32encode(secrets.token_bytes(16)).decode().rstrip('=').lower()}"

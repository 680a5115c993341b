"""Opaque public ids: a prefix that says the kind, and 128 random bits that say nothing."""

import secrets


def new_id(prefix: str) -> str:
    """Return ``<prefix>_`` and 32 hexadecimal digits, e.g. ``mem_4f0…``."""
    return f"{prefix}_{secrets.token_hex(16)}"

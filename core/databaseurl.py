"""The address of a PostgreSQL database, as libpq reads it, and the password apart from it.

    postgresql://user@host:5432/database?sslmode=verify-full

What is shown or handed on never has the password in it.
"""

from typing import Final
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

ENV_PASSWORD: Final = "PGPASSWORD"  # noqa: S105 - the name of a variable, libpq's own
SCHEMES: Final = ("postgresql", "postgres")
_PASSWORD: Final = "password"  # noqa: S105 - the name of a parameter


def is_database_url(url: str) -> bool:
    """Say whether an address may be one of PostgreSQL."""
    try:
        return urlsplit(url).scheme in SCHEMES
    except ValueError:
        return False


def split_password(url: str) -> tuple[str, str | None]:
    """Return an address without its password, and the password, ``None`` where it has none."""
    parts = urlsplit(url)
    who, at, where = parts.netloc.rpartition("@")
    user, colon, password = who.partition(":")
    options = parse_qsl(parts.query, keep_blank_values=True)
    named = [value for name, value in options if name == _PASSWORD]
    if not colon and not named:
        return url, None
    query = urlencode([(name, value) for name, value in options if name != _PASSWORD])
    bare = urlunsplit((parts.scheme, user + at + where, parts.path, query, ""))
    return bare, named[-1] if named else unquote(password)

"""The address of a PostgreSQL database, as libpq reads it, and the password apart from it.

    postgresql://user@host:5432/database?sslmode=verify-full

What is shown or handed on never has the password in it.
"""

from typing import Final
from urllib.parse import unquote, urlsplit

ENV_PASSWORD: Final = "PGPASSWORD"  # noqa: S105 - the name of a variable, libpq's own
SCHEMES: Final = ("postgresql", "postgres")
_OPTION: Final = "password="


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
    user, _, password = who.partition(":")
    options = [option for option in parts.query.split("&") if option]
    named = [option.removeprefix(_OPTION) for option in options if option.startswith(_OPTION)]
    if ":" not in who and not named:
        return url, None
    query = "&".join(option for option in options if not option.startswith(_OPTION))
    bare = f"{parts.scheme}://{user}{at}{where}{parts.path}"  # urlunsplit drops the slashes of an address without host
    return f"{bare}?{query}" if query else bare, unquote(named[-1] if named else password)

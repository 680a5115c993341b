"""What callers may say about a memory, and how it becomes JSON. The server judges the values."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypedDict


class Embedding(TypedDict):
    """A vector of your own, and the fingerprint of the model that made it: ``namespace(name).embedding`` has it."""

    fingerprint: str
    vector: Sequence[float] | str  # a string: float32 numbers, little-endian, in base64


class Details(TypedDict, total=False):
    """What may be said about a new memory beside its content."""

    id: str | None  # your own; writing it again adds a version
    metadata: Mapping[str, Any] | None  # JSON; filters can use every value
    session: str | None  # the conversation or run it belongs to
    tags: Sequence[str] | None
    importance: float | None  # 0 to 1
    occurred_at: datetime | str | None  # aware, or RFC 3339 text
    ttl_seconds: int | None
    supersedes: str | None  # id of a memory that this one replaces
    embedding: Embedding | None  # it is then not embedded by the server


class _Content(TypedDict):
    content: str


class NewMemory(Details, _Content):
    """A memory to write with ``add_many``."""


class Changes(TypedDict, total=False):
    """What ``update`` may change; ``None`` empties a field, one that is not given keeps its value."""

    content: str
    metadata: Mapping[str, Any] | None
    session: str | None
    tags: Sequence[str] | None
    importance: float | None
    occurred_at: datetime | str | None
    ttl_seconds: int | None


class Conditions(TypedDict, total=False):
    """What a search may ask beside its query; see the server's documentation of filters."""

    limit: int  # 1 to 100
    mode: str | None  # hybrid, vector or text; the server's setting decides otherwise
    session: str | None
    tags: Sequence[str] | None  # all of them
    since: datetime | str | None  # happened at or after
    until: datetime | str | None  # happened before
    filter: Mapping[str, Any] | None  # conditions on metadata
    as_of: datetime | str | None  # answer with what was known then
    explain: bool  # add each arm's rank and score
    after_job: str | None  # wait for this job first: read your writes
    wait_ms: int  # how long to wait for it


def encode(value: Any) -> bytes:
    """Return compact JSON in UTF-8, times as RFC 3339.

    Raises ``ValueError`` for a time without zone or a number that is not finite, ``TypeError`` for what is not JSON.
    """
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=_convert)
    return text.encode()


def given(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields without those that are ``None``: not given."""
    return {name: value for name, value in fields.items() if value is not None}


def query_of(**parameters: str | int | Iterable[str] | None) -> tuple[tuple[str, str], ...]:
    """Return URL query parameters; ``None`` is left out, a list repeats its name."""
    pairs: list[tuple[str, str]] = []
    for name, value in parameters.items():
        if isinstance(value, str | int):
            pairs.append((name, str(value)))
        elif value is not None:
            pairs.extend((name, each) for each in value)
    return tuple(pairs)


def _convert(value: Any) -> Any:
    if isinstance(value, datetime):
        if value.utcoffset() is None:
            raise ValueError("a time has no time zone; write datetime(..., tzinfo=UTC) or call .astimezone()")
        return value.isoformat()
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is not JSON; convert it first")

"""What a caller may ask to remember, validated, and how it is serialised before it is sealed."""

import math
import re
import unicodedata
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Self

import orjson
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from core import limits
from core.vectors import GivenVector

Metadata = dict[str, Any]

_EARLIEST = datetime(1, 1, 2, tzinfo=UTC)  # a day of room at both ends: the same moment exists in every zone
_LATEST = datetime(9999, 12, 30, tzinfo=UTC)
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


def _name(value: str) -> str:
    """NFC, no control characters, no blanks around it: the same name typed twice is the same name."""
    value = unicodedata.normalize("NFC", value)
    if value != value.strip():
        raise ValueError("must not begin or end with white space")
    if any(unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"} for character in value):
        raise ValueError("must not contain control characters")
    return value


def _content(value: str) -> str:
    size = len(value.encode())
    if size > limits.CONTENT_BYTES_MAX:
        raise ValueError(
            f"is {size} bytes of UTF-8, the limit is {limits.CONTENT_BYTES_MAX}; split it into several memories"
        )
    if not value.strip():
        raise ValueError("must not be blank")
    return value


def _metadata(value: Metadata) -> Metadata:
    try:
        size = len(orjson.dumps(value))
    except orjson.JSONEncodeError:
        size = None
    if size is not None and size > limits.METADATA_BYTES_MAX:  # first, because walking a large tree takes long
        raise ValueError(f"is {size} bytes as JSON, the limit is {limits.METADATA_BYTES_MAX}")
    leaves = _check_tree(value, depth=1)
    if leaves > limits.METADATA_VALUES_MAX:
        raise ValueError(f"has {leaves} values, the limit is {limits.METADATA_VALUES_MAX}")
    if size is None:
        raise ValueError("holds text that is not Unicode: a lone surrogate")
    return value


def _check_tree(value: Any, depth: int) -> int:
    """Return the number of leaves, empty containers too; raise ``ValueError`` on what filters could not honour."""
    if depth > limits.METADATA_DEPTH_MAX + 1:
        raise ValueError(f"is nested deeper than {limits.METADATA_DEPTH_MAX} levels")
    match value:
        case dict() | list() if not value:
            return 1
        case dict():
            if not all(isinstance(key, str) and key for key in value):
                raise ValueError("keys must be non-empty strings")
            return sum(_check_tree(item, depth + 1) for item in value.values())
        case list():
            return sum(_check_tree(item, depth + 1) for item in value)
        case bool() | str() | None:
            return 1
        case int() if abs(value) > limits.INTEGER_ABS_MAX:
            raise ValueError("holds an integer beyond 2^53 - 1; send it as a string")
        case float() if not math.isfinite(value):
            raise ValueError("holds a number that is not finite")
        case int() | float():
            return 1
    raise ValueError("must be JSON")


def _unique(tags: list[str]) -> list[str]:
    return list(dict.fromkeys(tags))


def _moment(value: Any) -> Any:
    # RFC 3339 text only: a number, bare or quoted, would be read as seconds or milliseconds, by its size.
    if isinstance(value, int | float) or (isinstance(value, str) and not _DATE.match(value)):
        raise ValueError("must be an RFC 3339 time such as 2026-01-31T12:00:00Z")
    return value


def _in_range(value: datetime) -> datetime:
    if value < _EARLIEST:
        raise ValueError("lies before the year 1")
    if value > _LATEST:
        raise ValueError("lies after the year 9999")
    return value


Name = Annotated[str, Field(min_length=1, max_length=limits.NAME_CHARS_MAX), AfterValidator(_name)]
Tag = Annotated[str, Field(min_length=1, max_length=limits.TAG_CHARS_MAX), AfterValidator(_name)]
Tags = Annotated[list[Tag], Field(max_length=limits.TAGS_MAX), AfterValidator(_unique)]
Content = Annotated[str, AfterValidator(_content)]
CheckedMetadata = Annotated[Metadata, AfterValidator(_metadata)]
Moment = Annotated[AwareDatetime, BeforeValidator(_moment), AfterValidator(_in_range)]
Importance = Annotated[float, Field(strict=True, ge=0, le=1, allow_inf_nan=False)]


class NewMemory(BaseModel):
    """One memory to write. Field names are those of the REST contract."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    content: Content = Field(description="The text to remember, at most 100,000 bytes of UTF-8.")
    id: Name | None = Field(None, description="Your own id; writing it again adds a version. Default: a new one.")
    metadata: CheckedMetadata = Field(default_factory=dict, description="JSON object; filters can use every value.")
    session: Name | None = Field(None, description="The conversation or run it belongs to.")
    tags: Tags = Field(default_factory=list, description="Labels.")
    importance: Importance | None = Field(None, description="Weight from 0 to 1, kept with the memory.")
    occurred_at: Moment | None = Field(None, description="When it happened, if that is not now (RFC 3339).")
    ttl_seconds: int | None = Field(
        None, strict=True, gt=0, le=limits.TTL_SECONDS_MAX, description="Seconds after which it expires."
    )
    supersedes: Name | None = Field(None, description="Id of a memory that this one replaces.")
    embedding: GivenVector | None = Field(None, description="Your own vector of it; it is then not embedded here.")

    @field_validator("id")
    @classmethod
    def _not_a_route(cls, value: str | None) -> str | None:
        if value == "search":
            raise ValueError("'search' is the name of a route; choose another id")
        return value

    @model_validator(mode="after")
    def _not_itself(self) -> Self:
        if self.supersedes is not None and self.supersedes == self.id:
            raise ValueError("supersedes: a memory cannot supersede itself; drop supersedes, the same id suffices")
        return self


class Stored(BaseModel):
    """The sealed part of a memory row, opened."""

    model_config = ConfigDict(frozen=True)

    id: str
    content: str
    metadata: Metadata
    session: str | None
    tags: list[str]
    importance: float | None
    occurred_at: datetime | None

    @staticmethod
    def of(memory: NewMemory, public_id: str) -> "Stored":
        """Return what is stored of a new memory; a time keeps the zone its author gave."""
        return Stored.model_construct(
            id=public_id,
            content=memory.content,
            metadata=memory.metadata,
            session=memory.session,
            tags=memory.tags,
            importance=memory.importance,
            occurred_at=memory.occurred_at,
        )

    def to_bytes(self) -> bytes:
        """Return the plaintext that is sealed: compact JSON."""
        return orjson.dumps(self.__dict__)

    @staticmethod
    def from_bytes(plaintext: bytes) -> "Stored":
        """Return what :meth:`to_bytes` wrote; the bytes were authenticated, so they are not validated again."""
        fields = orjson.loads(plaintext)
        if fields["occurred_at"] is not None:
            fields["occurred_at"] = datetime.fromisoformat(fields["occurred_at"])
        return Stored.model_construct(**fields)


_ID_TO_BE_MADE: Final = f"mem_{0:032}"


def stored_bytes(memories: Iterable[NewMemory]) -> int:
    """Return the bytes that memories will have as they are stored, before they are sealed."""
    return sum(len(Stored.of(memory, memory.id or _ID_TO_BE_MADE).to_bytes()) for memory in memories)

"""What readers make of a file: rows with their fields, and faults that say where and why, never what was there."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

UNREADABLE: Final = "unreadable_file"  # the rest of a file cannot be read
SPOILT: Final = "unreadable_value"
NOT_UTF8: Final = "not_utf8"
MALFORMED_JSON: Final = "malformed_json"
MALFORMED_CSV: Final = "malformed_csv"
UNKNOWN_FIELD: Final = "unknown_field"
TOO_LARGE: Final = "too_large"


@dataclass(frozen=True, slots=True)
class Row:
    """A row as the file spells it; ``number`` is its line (of CSV the first, of Parquet the row), from 1."""

    number: int
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Fault:
    """A row that cannot be written; ``detail`` repeats nothing of it."""

    number: int
    code: str
    detail: str


class Reader(Protocol):
    """An opened file of one format."""

    spelled: bool  # the format has no types of its own for lists and objects, so text may spell them

    @property
    def columns(self) -> tuple[str, ...] | None:
        """The names of the columns; ``None`` where each row has its own fields. Raises ``InvalidInput``."""

    @property
    def share(self) -> float:
        """How much of the file is read, 0 to 1."""

    def rows(self, wanted: tuple[str, ...] | None) -> Iterator[Row | Fault]:
        """Yield the rows, once; only the columns ``wanted``, where the format can leave out the others."""

"""What a search asks, and what it answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from core.records.reading import MemoryView
from core.search.filters import Filter

Mode = Literal["hybrid", "vector", "text"]
Fusion = Literal["linear", "rrf"]


@dataclass(frozen=True)
class Scope:
    """Which memories may answer. Times in microseconds since the epoch, ``until`` exclusive."""

    filter: Filter | None = None
    session: str | None = None
    tags: Sequence[str] = ()
    since: int | None = None
    until: int | None = None
    as_of: int | None = None

    @property
    def is_open(self) -> bool:
        """Whether nothing but the present limits the answers."""
        return self == Scope()


@dataclass(frozen=True)
class SearchRequest:
    """One search in one namespace."""

    query: str
    limit: int
    mode: Mode
    scope: Scope = field(default_factory=Scope)
    explain: bool = False


@dataclass(frozen=True)
class Hit:
    """One answer. ``similarity`` is the cosine with the query, ``None`` in text mode."""

    memory: MemoryView
    score: float
    similarity: float | None
    explanation: Mapping[str, Any] | None


@dataclass(frozen=True)
class Answer:
    """The hits, best first, and how long each part took in milliseconds."""

    hits: Sequence[Hit]
    generation: int
    took_ms: Mapping[str, float]

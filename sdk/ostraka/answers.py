"""What the server answers, as frozen dataclasses. Names and meanings are those of the REST API; times are aware.

Fields that a newer server adds are passed over, so an old client keeps working.
"""

import functools
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, is_dataclass
from datetime import datetime
from typing import Any, Literal, TypeVar

_T = TypeVar("_T")

JobState = Literal["pending", "embedding", "indexing", "indexed", "failed"]


@dataclass(frozen=True)
class Added:
    """A durably accepted memory; ``state`` is ``pending`` unless the call waited."""

    id: str
    job_id: str
    state: Literal["pending", "indexed", "failed"]


@dataclass(frozen=True)
class Rejected:
    """A memory that was not accepted; ``line`` counts from 1 over everything given to ``add_many``."""

    line: int
    code: str
    detail: str


@dataclass(frozen=True)
class AddedMany:
    """What ``add_many`` wrote: one job per chunk."""

    job_ids: tuple[str, ...]
    accepted: int
    rejected: tuple[Rejected, ...]
    replayed: int = 0  # chunks that an earlier call with the same key had written


@dataclass(frozen=True)
class Memory:
    """One version of a memory."""

    id: str
    content: str
    metadata: dict[str, Any]
    session: str | None
    tags: tuple[str, ...]
    importance: float | None
    occurred_at: datetime | None
    created_at: datetime
    expires_at: datetime | None
    version: int
    state: str
    error: str | None
    closed_at: datetime | None


@dataclass(frozen=True)
class Result:
    """A memory that a search found; ``similarity`` is the cosine with the query, ``None`` in text mode."""

    id: str
    content: str
    metadata: dict[str, Any]
    score: float
    similarity: float | None
    session: str | None
    tags: tuple[str, ...]
    importance: float | None
    occurred_at: datetime | None
    created_at: datetime
    version: int
    explain: dict[str, Any] | None = None


@dataclass(frozen=True)
class Results:
    """The answers of a search, best first; iterate over it. Times are the server's, in milliseconds."""

    results: tuple[Result, ...]
    took_ms: float
    parts_ms: dict[str, float] | None = None

    def __iter__(self) -> Iterator[Result]:
        return iter(self.results)

    def __len__(self) -> int:
        return len(self.results)

    def __getitem__(self, place: int) -> Result:
        return self.results[place]


@dataclass(frozen=True)
class Page:
    """Some memories, and the cursor of the next page, if there is one."""

    memories: tuple[Memory, ...]
    next_cursor: str | None


@dataclass(frozen=True)
class Deleted:
    """A finished deletion: the id of its receipt, the rows erased, and those kept because they could not be opened."""

    deletion_id: str
    deleted: int
    refused: int


@dataclass(frozen=True)
class Erased:
    """Something that is gone."""

    where: str
    what: str
    at: datetime


@dataclass(frozen=True)
class Remaining:
    """Something that may still be there; ``until`` is ``None`` where the server does not decide it."""

    where: str
    until: datetime | None
    note: str


@dataclass(frozen=True)
class Deletion:
    """The receipt of a deletion; ``purged`` means that the index files are free of it, too."""

    id: str
    namespace: str | None
    kind: Literal["memory", "filter", "session", "namespace"]
    state: Literal["erasing", "erased", "purged"]
    rows: int
    created_at: datetime
    finished_at: datetime | None
    purge_due_at: datetime
    purged_at: datetime | None
    erased: tuple[Erased, ...]
    remains: tuple[Remaining, ...]


@dataclass(frozen=True)
class Failure:
    """A memory that could not be made searchable; without an ``id`` it cannot be opened either, ``row`` names it."""

    row: str
    id: str | None
    job_id: str
    namespace: str
    error: str
    attempts: int
    superseded: bool
    created_at: datetime


@dataclass(frozen=True)
class FailurePage:
    """Some failed memories, oldest first, and the cursor of the next page, if there is one."""

    failures: tuple[Failure, ...]
    next_cursor: str | None


@dataclass(frozen=True)
class Discarded:
    """How many failed memories were deleted for good, and the receipts of their deletion."""

    discarded: int
    deletion_ids: tuple[str, ...]


@dataclass(frozen=True)
class JobError:
    """Why some memories of a job failed."""

    code: str
    memories: int


@dataclass(frozen=True)
class Job:
    """Where accepted memories are on their way; ``indexed`` and ``failed`` are the end states."""

    id: str
    namespace: str
    state: JobState
    accepted: int
    embedded: int
    indexed: int
    failed: int
    deleted: int
    errors: tuple[JobError, ...]
    created_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True)
class EmbeddingSpace:
    """What vectors of your own must be: made by the model of this fingerprint, of ``dim`` numbers."""

    fingerprint: str
    dim: int


@dataclass(frozen=True)
class Namespace:
    """A namespace in numbers; ``bytes`` are those of its sealed shards."""

    name: str
    id: str
    created_at: datetime
    memories: int
    states: dict[str, int]
    shards: int
    bytes: int
    model: str | None
    generation: int
    embedding: EmbeddingSpace | None = None  # an older server does not say


@dataclass(frozen=True)
class Health:
    """How the server is, and what is wrong where it is not healthy; ``degraded``: everything is answered yet."""

    status: Literal["healthy", "degraded", "unready"]
    version: str
    uptime_seconds: float
    authentication: str
    problems: tuple[str, ...]


def read(kind: type[_T], body: Any) -> _T:
    """Return the dataclass ``kind`` that a JSON object holds.

    Raises ``KeyError``, ``TypeError`` or ``ValueError`` for anything else.
    """
    values = {name: reader(body[name]) for name, reader in _readers(typing.cast("Any", kind)).items() if name in body}
    return kind(**values)


@functools.cache
def _readers(kind: type[Any]) -> Mapping[str, Callable[[Any], Any]]:
    """Return for each field how its JSON value becomes its Python value."""
    return {name: _reader(hint) for name, hint in typing.get_type_hints(kind).items()}


def _reader(hint: Any) -> Callable[[Any], Any]:
    if hint is datetime:
        return datetime.fromisoformat
    if hint == datetime | None:
        return lambda value: None if value is None else datetime.fromisoformat(value)
    if hint == EmbeddingSpace | None:
        return lambda value: None if value is None else read(EmbeddingSpace, value)
    if typing.get_origin(hint) is tuple:
        item = typing.get_args(hint)[0]
        nested = is_dataclass(item)
        return lambda values: tuple(read(item, value) if nested else value for value in values)
    return lambda value: value

"""The bodies of requests and answers, as OpenAPI shows them."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from api.requestbody import RequestBody
from core import limits
from core.memory import CheckedMetadata, Content, Importance, Moment, Name, NewMemory, Tag, Tags
from core.records.reading import JobView, MemoryView
from core.search.request import Hit, Mode

ADD_EXAMPLE: dict[str, Any] = {
    "namespace": "support",
    "content": "Ada prefers replies in the evening.",
    "session": "ticket-4821",
    "tags": ["preference"],
    "metadata": {"customer": {"id": 17, "plan": "pro"}},
    "occurred_at": "2026-03-14T18:30:00Z",
}
EMBEDDED_EXAMPLE: dict[str, Any] = {
    "namespace": "support",
    "content": "Ada prefers replies in the evening.",
    "embedding": {"fingerprint": "all-MiniLM-L6-v2:int8:0123456789abcdef", "vector": "AACAPwAAAAAAAAAA…"},
}
SEARCH_EXAMPLE: dict[str, Any] = {"namespace": "support", "query": "when should I write to Ada?", "limit": 5}


class AddMemory(NewMemory):
    """A memory to write, and where."""

    model_config = ConfigDict(json_schema_extra={"examples": [ADD_EXAMPLE]})

    namespace: Name = Field(description="Made by the first write.")


class PatchMemory(RequestBody):
    """What to change; fields that are not sent keep their value."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"tags": ["preference", "confirmed"]}]})

    content: Content | None = None
    metadata: CheckedMetadata | None = None
    session: Name | None = None
    tags: Tags | None = None
    importance: Importance | None = None
    occurred_at: Moment | None = None
    ttl_seconds: int | None = Field(None, strict=True, gt=0, le=limits.TTL_SECONDS_MAX)

    @model_validator(mode="after")
    def _something(self) -> "PatchMemory":
        if not self.model_fields_set:
            raise ValueError("names nothing to change; send at least one field")
        if "content" in self.model_fields_set and self.content is None:
            raise ValueError("content: must not be null; delete the memory instead")
        return self


class AddAnswer(BaseModel):
    """A durably accepted memory."""

    id: str = Field(examples=["mem_2xkz…"])
    job_id: str = Field(examples=["job_7qpa…"])
    state: Literal["pending", "indexed", "failed"]


class RejectedLine(BaseModel):
    """A line of a bulk call that was not accepted."""

    line: int = Field(description="From 1.")
    code: str
    detail: str


class BulkAnswer(BaseModel):
    """What a bulk call accepted."""

    job_id: str
    accepted: int
    rejected: list[RejectedLine]


class Memory(BaseModel):
    """A memory."""

    id: str
    content: str
    metadata: dict[str, Any]
    session: str | None
    tags: list[str]
    importance: float | None
    occurred_at: datetime | None
    created_at: datetime
    expires_at: datetime | None
    version: int
    state: str = Field(description="pending, embedded, indexed or failed")
    error: str | None
    closed_at: datetime | None = Field(description="When a newer version took its place.")


class SearchMemory(RequestBody):
    """A search, with everything it can ask."""

    model_config = ConfigDict(json_schema_extra={"examples": [SEARCH_EXAMPLE]})

    namespace: Name
    query: str = Field(min_length=1, max_length=limits.QUERY_CHARS_MAX)
    limit: int = Field(10, ge=1, le=limits.SEARCH_LIMIT_MAX)
    mode: Mode | None = Field(None, description="Default: the setting [retrieval] mode.")
    session: Name | None = None
    tags: list[Tag] = Field(default_factory=list, max_length=limits.TAGS_MAX, description="All of them.")
    since: Moment | None = Field(None, description="Happened at or after (occurred_at, else created_at).")
    until: Moment | None = Field(None, description="Happened before.")
    filter: dict[str, Any] | None = Field(
        None,
        description="Conditions on metadata; see docs/filters.md.",
        examples=[{"customer.plan": {"in": ["pro", "team"]}}],
    )
    as_of: Moment | None = Field(None, description="Answer with what was known at this time.")
    explain: bool = Field(False, description="Add each arm's rank and score.")
    after_job: str | None = Field(None, description="Wait until this job is done (read your writes).")
    wait_ms: int = Field(10_000, ge=0, le=limits.WAIT_MS_MAX, description="How long to wait for after_job at most.")


class Result(BaseModel):
    """One answer of a search."""

    id: str
    content: str
    metadata: dict[str, Any]
    score: float
    similarity: float | None = Field(description="Cosine with the query; null in text mode.")
    session: str | None
    tags: list[str]
    importance: float | None
    occurred_at: datetime | None
    created_at: datetime
    version: int
    explain: dict[str, Any] | None = None


class SearchAnswer(BaseModel):
    """The answers, best first."""

    results: list[Result]
    took_ms: float
    parts_ms: dict[str, float] | None = Field(None, description="With explain: time of each part.")


class MemoryPage(BaseModel):
    """A page of memories."""

    memories: list[Memory]
    next_cursor: str | None


class DeleteAnswer(BaseModel):
    """What a deletion erased."""

    deletion_id: str = Field(description="Of the receipt: see GET /v1/deletions/{id}.", examples=["del_4f0…"])
    deleted: int = Field(description="Rows erased, versions included.")
    refused: int = Field(description="Rows that could not be opened, and so not judged; they were kept.")


class JobError(BaseModel):
    """Why some memories of a job failed."""

    code: str
    memories: int


class Job(BaseModel):
    """A job with its true counts."""

    id: str
    namespace: str
    state: Literal["pending", "embedding", "indexing", "indexed", "failed"]
    accepted: int
    embedded: int
    indexed: int
    failed: int
    deleted: int
    errors: list[JobError]
    created_at: datetime
    finished_at: datetime | None


class JobPage(BaseModel):
    """A page of jobs, newest first."""

    jobs: list[Job]
    next_cursor: str | None


class EmbeddingSpace(BaseModel):
    """What vectors of your own must be, to be accepted."""

    fingerprint: str = Field(
        description="Of the model that the server embeds with; send it as `embedding.fingerprint`."
    )
    dim: int = Field(description="Numbers of a vector.")


class NamespaceView(BaseModel):
    """A namespace in numbers."""

    name: str
    id: str
    created_at: datetime
    memories: int = Field(description="Not deleted, versions included.")
    states: dict[str, int]
    shards: int
    bytes: int = Field(description="Of sealed shards.")
    model: str | None = Field(description="Fingerprint of the model it is indexed with; null before the first index.")
    embedding: EmbeddingSpace
    generation: int


class NamespaceList(BaseModel):
    """All namespaces that the credential covers."""

    namespaces: list[NamespaceView]


class WhoAmI(BaseModel):
    """The credential at hand."""

    company: str
    key_id: str | None
    scopes: list[str]
    namespaces: list[str]


class Health(BaseModel):
    """How the server is."""

    status: Literal["healthy", "degraded", "unready"] = Field(description="degraded: everything is answered yet")
    version: str
    role: Literal["all", "no-search", "query"] = Field(description="Which routes this process serves.")
    uptime_seconds: float
    authentication: Literal["keys", "none"]
    problems: list[str] = Field(description="Each a code of docs/errors.md, a colon, and what it means.")


def memory_body(view: MemoryView) -> dict[str, Any]:
    """Return the body of a memory."""
    body = dict(view.__dict__)
    del body["row"]
    return body


def result_body(hit: Hit) -> dict[str, Any]:
    """Return the body of a search result."""
    memory = hit.memory
    return {
        "id": memory.id,
        "content": memory.content,
        "metadata": memory.metadata,
        "score": hit.score,
        "similarity": hit.similarity,
        "session": memory.session,
        "tags": memory.tags,
        "importance": memory.importance,
        "occurred_at": memory.occurred_at,
        "created_at": memory.created_at,
        "version": memory.version,
        "explain": hit.explanation,
    }


def job_body(view: JobView) -> dict[str, Any]:
    """Return the body of a job."""
    body = dict(view.__dict__)
    del body["row"]
    return body

"""Reading memories, versions, jobs and counts from the record store."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import structlog
from sqlalchemy import ColumnElement, Connection, Row, Select, func, or_, select

from core.clock import to_datetime
from core.errors import IntegrityError, NotFound
from core.memory import Metadata
from core.records.company import CompanyRecords, Namespace
from core.records.rows import open_content
from core.records.tables import State, jobs, memories, shards

log = structlog.get_logger()

JobState = Literal["pending", "embedding", "indexing", "indexed", "failed"]


@dataclass(frozen=True)
class MemoryView:
    """A memory as its owner sees it."""

    id: str
    content: str
    metadata: Metadata
    session: str | None
    tags: list[str]
    importance: float | None
    occurred_at: datetime | None
    created_at: datetime
    expires_at: datetime | None
    closed_at: datetime | None
    version: int
    state: str
    error: str | None
    row: int


@dataclass(frozen=True)
class MemoryPage:
    """A page of memories; ``refused`` could not be opened; behind the row ``next_after``, if any, there are more."""

    memories: list[MemoryView]
    refused: int
    next_after: int | None


@dataclass(frozen=True)
class JobView:
    """A job with its counts, taken from its memories: they cannot disagree."""

    id: str
    namespace: str
    state: JobState
    accepted: int
    embedded: int
    indexed: int
    failed: int
    deleted: int
    errors: Sequence[dict[str, Any]]
    created_at: datetime
    finished_at: datetime | None
    row: int


def view(namespace: Namespace, row: Row[Any]) -> MemoryView:
    """Open a row. Raises ``IntegrityError`` when it was changed or moved."""
    stored = open_content(namespace, row.id, row.sealed)
    return MemoryView(
        id=stored.id,
        content=stored.content,
        metadata=stored.metadata,
        session=stored.session,
        tags=stored.tags,
        importance=stored.importance,
        occurred_at=stored.occurred_at,
        created_at=to_datetime(row.created_at),
        expires_at=to_datetime(row.expires_at) if row.expires_at is not None else None,
        closed_at=to_datetime(row.closed_at) if row.closed_at is not None else None,
        version=row.version,
        state=row.state,
        error=row.error,
        row=row.id,
    )


def get_memory(records: CompanyRecords, namespace: Namespace, memory_id: str) -> MemoryView:
    """Return the present version of a memory. Raises ``NotFound``, ``IntegrityError``."""
    statement = _alive(namespace, records.clock()).where(
        memories.c.handle == namespace.key.handle("memory", memory_id), memories.c.closed_at.is_(None)
    )
    with records.database.read() as connection:
        row = connection.execute(statement).first()
    if row is None:
        raise NotFound("there is no such memory in this namespace", field="id")
    return view(namespace, row)


def get_history(records: CompanyRecords, namespace: Namespace, memory_id: str) -> list[MemoryView]:
    """Return all versions of a memory, oldest first. Raises ``NotFound``, ``IntegrityError``."""
    statement = _alive(namespace, records.clock()).where(memories.c.handle == namespace.key.handle("memory", memory_id))
    with records.database.read() as connection:
        rows = connection.execute(statement.order_by(memories.c.id)).all()
    if not rows:
        raise NotFound("there is no such memory in this namespace", field="id")
    return [view(namespace, row) for row in rows]


def list_memories(
    records: CompanyRecords, namespace: Namespace, *, after: int, limit: int, session: str | None = None
) -> MemoryPage:
    """Return a page of present memories in order of acceptance, behind the row ``after``.

    A row that cannot be opened is passed over and counted, so that it hides nothing but itself.
    """
    statement = _alive(namespace, records.clock()).where(memories.c.id > after, memories.c.closed_at.is_(None))
    if session is not None:
        statement = statement.where(memories.c.session == namespace.key.handle("session", session))
    with records.database.read() as connection:
        rows = connection.execute(statement.order_by(memories.c.id).limit(limit + 1)).all()
    opened = []
    for row in rows[:limit]:
        with suppress(IntegrityError):
            opened.append(view(namespace, row))
    if refused := len(rows[:limit]) - len(opened):
        log.error("rows_refused", reason=IntegrityError.code, rows=refused, namespace=namespace.public_id)
    return MemoryPage(opened, refused, rows[limit - 1].id if len(rows) > limit else None)


def get_job(records: CompanyRecords, job_id: str) -> JobView:
    """Return a job with its counts. Raises ``NotFound``."""
    with records.database.read() as connection:
        row = connection.execute(select(jobs).where(jobs.c.public_id == job_id)).first()
        if row is None:
            raise NotFound("there is no such job", field="job_id")
        return _job_view(records, connection, row)


def list_jobs(
    records: CompanyRecords,
    *,
    after: int | None,
    limit: int,
    namespace_ids: Sequence[int] | None = None,
    state: JobState | None = None,
) -> list[JobView]:
    """Return jobs, newest first, older than the row ``after``: of some namespaces or all, in a state or any."""
    statement = select(jobs).order_by(jobs.c.id.desc()).limit(limit)
    if namespace_ids is not None:
        statement = statement.where(jobs.c.namespace_id.in_(namespace_ids))
    if after is not None:
        statement = statement.where(jobs.c.id < after)
    if state is not None:
        statement = statement.where(_in_state(state))
    with records.database.read() as connection:
        return [_job_view(records, connection, row) for row in connection.execute(statement).all()]


def count_states(connection: Connection, namespace_id: int) -> dict[str, int]:
    """Return how many rows of a namespace are in each state."""
    rows = connection.execute(
        select(memories.c.state, func.count()).where(memories.c.namespace_id == namespace_id).group_by(memories.c.state)
    )
    return {state.value: 0 for state in State} | {row[0]: row[1] for row in rows}


def count_shards(connection: Connection, namespace_id: int) -> tuple[int, int]:
    """Return the number of live shards of a namespace and their bytes."""
    row = connection.execute(
        select(func.count(), func.coalesce(func.sum(shards.c.bytes), 0)).where(
            shards.c.namespace_id == namespace_id, shards.c.retired_at.is_(None)
        )
    ).one()
    return row[0], int(row[1])  # a sum of big numbers is a decimal in PostgreSQL


def _alive(namespace: Namespace, now: int) -> Select[Any]:
    return select(memories).where(
        memories.c.namespace_id == namespace.id,
        memories.c.state != State.DELETED,
        or_(memories.c.expires_at.is_(None), memories.c.expires_at > now),
    )


def _in_state(state: JobState) -> ColumnElement[bool]:
    """Return the condition that is :func:`_job_state` in SQL."""

    def has(*states: State) -> ColumnElement[bool]:
        return select(memories.c.id).where(memories.c.job_id == jobs.c.id, memories.c.state.in_(states)).exists()

    finished = jobs.c.finished_at.is_not(None)
    match state:
        case "failed":
            return finished & has(State.FAILED)
        case "indexed":
            return finished & ~has(State.FAILED)
        case "indexing":
            return ~finished & ~has(State.PENDING)
        case "embedding":
            return ~finished & has(State.PENDING) & has(State.EMBEDDED, State.INDEXED)
        case "pending":
            return ~finished & has(State.PENDING) & ~has(State.EMBEDDED, State.INDEXED)


def _job_view(records: CompanyRecords, connection: Connection, row: Row[Any]) -> JobView:
    counts = dict.fromkeys(State, 0)
    errors = []
    for found in connection.execute(
        select(memories.c.state, memories.c.error, func.count())
        .where(memories.c.job_id == row.id)
        .group_by(memories.c.state, memories.c.error)
    ):
        counts[State(found[0])] += found[2]
        if found[0] == State.FAILED:
            errors.append({"code": found[1], "memories": found[2]})
    try:
        name = records.namespace_by_id(row.namespace_id).name
    except NotFound:
        name = ""
    return JobView(
        id=row.public_id,
        namespace=name,
        state=_job_state(counts, finished=row.finished_at is not None),
        accepted=row.accepted,
        embedded=counts[State.EMBEDDED] + counts[State.INDEXED],
        indexed=counts[State.INDEXED],
        failed=counts[State.FAILED],
        deleted=counts[State.DELETED],
        errors=errors,
        created_at=to_datetime(row.created_at),
        finished_at=to_datetime(row.finished_at) if row.finished_at is not None else None,
        row=row.id,
    )


def _job_state(counts: dict[State, int], *, finished: bool) -> JobState:
    if finished:
        return "failed" if counts[State.FAILED] else "indexed"
    if counts[State.PENDING] == 0:
        return "indexing"
    return "embedding" if counts[State.EMBEDDED] or counts[State.INDEXED] else "pending"

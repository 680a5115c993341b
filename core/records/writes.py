"""Accepting memories: many requests, one transaction, one fsync.

A request is one job. Its memories get consecutive ids, are sealed for those ids, and close the versions they
replace. Nothing is acknowledged before the transaction that holds all of it has committed. A memory that brings its
vector is embedded from the start.
"""

import hmac
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson
from sqlalchemy import BigInteger, Connection, bindparam, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from core.errors import Conflict, NotFound
from core.ids import new_id
from core.memory import NewMemory, Stored
from core.records.company import Namespace, use_newest_keys
from core.records.tables import Lane, State, counters, jobs, memories, namespaces

_HANDLES_PER_QUERY = 500  # bound parameters a statement may carry, with room to spare


@dataclass(frozen=True)
class Idempotency:
    """A caller's promise that requests with this key are one: HMACs of the key and of the request."""

    handle: bytes
    request_hash: bytes


@dataclass(frozen=True)
class WriteRequest:
    """Memories of one namespace to accept together, as one job."""

    namespace: Namespace
    items: Sequence[NewMemory]
    lane: Lane
    idempotency: Idempotency | None = None
    answer: dict[str, Any] = field(default_factory=dict)  # kept with an idempotency key, to be repeated
    replaces_row: int | None = None  # the row a patch was computed from; another one by now is a conflict


@dataclass(frozen=True)
class Accepted:
    """What was durably accepted."""

    job_id: str
    ids: Sequence[str]
    answer: dict[str, Any]
    repeated: bool = False  # an earlier request with this idempotency key did it


@dataclass(frozen=True)
class OpenVersion:
    """The open version of a memory."""

    row: int
    version: int


def commit_writes(connection: Connection, requests: Sequence[WriteRequest], now: int) -> list[Accepted]:
    """Insert the jobs and sealed memories of ``requests``; return their answers in order.

    Raises ``NotFound`` when a namespace was deleted meanwhile, ``Conflict`` when an idempotency key was used for
    another request or a patched memory has moved on. The caller's transaction then holds nothing of any of them.
    """
    _check_namespaces(connection, requests)
    first = allocate(connection, len(requests) + sum(len(request.items) for request in requests))
    batch = _Batch(connection, now, job=first, row=first + len(requests))
    answers = [batch.add(request) for request in requests]
    batch.flush()
    return answers


@dataclass
class _Batch:
    """Rows gathered from many requests, inserted together; flushed early when a request must look at them."""

    connection: Connection
    now: int
    job: int  # next job id
    row: int  # next memory id
    jobs: list[dict[str, Any]] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)

    def add(self, request: WriteRequest) -> Accepted:
        if request.idempotency:
            self.flush()
            if earlier := find_repeat(self.connection, request.namespace, request.idempotency):
                return earlier
        public_ids = [item.id or new_id("mem") for item in request.items]
        job_id, public_job = self.job, new_id("job")
        self.job += 1
        self.jobs.append(self._job_row(request, job_id, public_job, public_ids))
        self._add_memories(request, job_id, public_ids)
        return Accepted(public_job, public_ids, request.answer)

    def flush(self) -> None:
        if self.jobs:
            self.connection.execute(insert(jobs), self.jobs)
        if self.rows:
            self.connection.execute(insert(memories), self.rows)
        self.jobs, self.rows = [], []

    def _job_row(
        self, request: WriteRequest, job_id: int, public_job: str, public_ids: Sequence[str]
    ) -> dict[str, Any]:
        idempotency = request.idempotency
        answer = orjson.dumps({"ids": public_ids, "answer": request.answer})
        return {
            "id": job_id,
            "public_id": public_job,
            "namespace_id": request.namespace.id,
            "lane": request.lane,
            "accepted": len(request.items),
            "idempotency": idempotency.handle if idempotency else None,
            "request_hash": idempotency.request_hash if idempotency else None,
            "sealed_answer": request.namespace.key.seal_row(answer, "jobs", job_id, "answer") if idempotency else None,
            "created_at": self.now,
            "finished_at": None if request.items else self.now,
        }

    def _add_memories(self, request: WriteRequest, job_id: int, public_ids: Sequence[str]) -> None:
        key = request.namespace.key
        handles = [key.handle("memory", public_id) for public_id in public_ids]
        superseded = {
            item.supersedes: key.handle("memory", item.supersedes) for item in request.items if item.supersedes
        }
        given = {handle for item, handle in zip(request.items, handles, strict=True) if item.id}
        versions: dict[bytes, OpenVersion] = {}
        if given or superseded:
            self.flush()
            versions = find_open(self.connection, request.namespace.id, given | set(superseded.values()))
        closures: list[tuple[int, int]] = []
        for item, public_id, handle in zip(request.items, public_ids, handles, strict=True):
            row, self.row = self.row, self.row + 1
            previous = versions.get(handle)
            if request.replaces_row is not None and (previous is None or previous.row != request.replaces_row):
                raise Conflict("the memory was changed or deleted meanwhile; read it again and repeat", field="id")
            if previous:
                closures.append((previous.row, row))
            if item.supersedes and (other := versions.pop(superseded[item.supersedes], None)):
                closures.append((other.row, row))
            versions[handle] = OpenVersion(row, previous.version + 1 if previous else 1)
            self.rows.append(self._memory_row(request, item, public_id, job_id, versions[handle], handle))
        if closures:
            self.flush()
            close_versions(self.connection, request.namespace.id, closures, self.now)

    def _memory_row(
        self, request: WriteRequest, item: NewMemory, public_id: str, job_id: int, version: OpenVersion, handle: bytes
    ) -> dict[str, Any]:
        key, plaintext = request.namespace.key, Stored.of(item, public_id).to_bytes()
        given = item.embedding
        return {
            "id": version.row,
            "namespace_id": request.namespace.id,
            "job_id": job_id,
            "handle": handle,
            "session": key.handle("session", item.session) if item.session else None,
            "version": version.version,
            "state": State.EMBEDDED if given else State.PENDING,
            "lane": request.lane,
            "created_at": self.now,
            "expires_at": self.now + item.ttl_seconds * 1_000_000 if item.ttl_seconds else None,
            "bytes": len(plaintext),
            "sealed": key.seal_row(plaintext, "memories", version.row, "content"),
            "sealed_vectors": key.seal_row(given.vector, "memories", version.row, "vectors") if given else None,
            "fingerprint": given.fingerprint if given else None,
        }


def close_versions(connection: Connection, namespace_id: int, closures: Sequence[tuple[int, int]], now: int) -> None:
    """Close rows in favour of others: they leave the present, stay in the history, and searches mask them."""
    if not closures:
        return
    connection.execute(
        update(memories)
        .where(memories.c.id == bindparam("row"))
        .values(closed_at=now, closed_by=bindparam("by"), overlay=True),
        [{"row": row, "by": by} for row, by in closures],
    )
    bump_overlay(connection, namespace_id)


def bump_overlay(connection: Connection, namespace_id: int) -> None:
    """Tell every reader that the set of masked rows of the namespace has changed."""
    connection.execute(
        update(namespaces)
        .where(namespaces.c.id == namespace_id)
        .values(overlay_version=namespaces.c.overlay_version + 1)
    )


def find_open(connection: Connection, namespace_id: int, handles: Iterable[bytes]) -> dict[bytes, OpenVersion]:
    """Return the open version of each memory that has one."""
    wanted, found = sorted(handles), {}
    for start in range(0, len(wanted), _HANDLES_PER_QUERY):
        rows = connection.execute(
            select(memories.c.handle, memories.c.id, memories.c.version).where(
                memories.c.namespace_id == namespace_id,
                memories.c.handle.in_(wanted[start : start + _HANDLES_PER_QUERY]),
                memories.c.closed_at.is_(None),
                memories.c.state != State.DELETED,
            )
        )
        found.update({row.handle: OpenVersion(row.id, row.version) for row in rows})
    return found


def allocate(connection: Connection, count: int) -> int:
    """Return the first of ``count`` consecutive ids; they are never given out again."""
    last = connection.execute(_ALLOCATE[connection.dialect.name], {"count": count}).scalar_one()
    return int(last) - count


def _allocation(dialect: Any) -> Any:
    statement = dialect.insert(counters).values(name="ids", value=1 + bindparam("count", type_=BigInteger))
    return statement.on_conflict_do_update(
        index_elements=[counters.c.name], set_={"value": counters.c.value + bindparam("count", type_=BigInteger)}
    ).returning(counters.c.value)


# Built once: every commit runs them.
_ALLOCATE: Final = {"sqlite": _allocation(sqlite), "postgresql": _allocation(postgresql)}


def _check_namespaces(connection: Connection, requests: Sequence[WriteRequest]) -> None:
    """Raise ``NotFound`` unless every namespace is there; seal with the keys that it has now."""
    live = use_newest_keys(connection, (request.namespace for request in requests))
    if {request.namespace.id for request in requests} - live:
        raise NotFound("the namespace was deleted meanwhile; write again to create it anew", field="namespace")


def find_repeat(connection: Connection, namespace: Namespace, idempotency: Idempotency) -> Accepted | None:
    """Return what an earlier request with this key was answered, or ``None`` when there was none.

    Raises ``Conflict`` when the key was used for another request. What was accepted before schema 3 has no hash left to
    compare: the key alone says that it is the same, because writing it twice is what the caller asked us not to do.
    """
    row = connection.execute(select(jobs).where(jobs.c.idempotency == idempotency.handle)).first()
    if row is None:
        return None
    if row.request_hash is not None and not hmac.compare_digest(row.request_hash, idempotency.request_hash):
        raise Conflict("this idempotency key was used for another request; use a new key", field="Idempotency-Key")
    kept = orjson.loads(namespace.key.open_row(row.sealed_answer, "jobs", row.id, "answer"))
    return Accepted(row.public_id, kept["ids"], kept["answer"], repeated=True)

"""Writing many memories: cut into chunks that one call may carry, each chunk exactly one write."""

import dataclasses
import uuid
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from ostraka.answers import AddedMany, Rejected, read
from ostraka.fields import NewMemory, encode, given
from ostraka.plans import TRIES_MAX, Plan, Request, deliver, understood

CHUNK_MEMORIES_MAX: Final = 10_000  # the server's limits of one call
CHUNK_BYTES_MAX: Final = 64 * 1024 * 1024


def add_many(namespace: str, memories: Iterable[NewMemory], *, idempotency_key: str | None = None) -> Plan[AddedMany]:
    """Remember much, in chunks of 10,000 memories or 64 MiB; ``memories`` is read as it is sent.

    Memories that are wrong are reported in ``rejected`` by number; the others of a chunk are written all or nothing.
    With an ``idempotency_key`` of your own, running the same call again after an error writes only the chunks that
    are missing; without it, each call has its own. Raises ``InvalidRequest`` for a chunk without a single valid
    memory, and other ``OstrakaError``; earlier chunks are then written.
    """
    key = idempotency_key or uuid.uuid4().hex
    job_ids: list[str] = []
    rejected: list[Rejected] = []
    accepted = before = 0
    replayed = 0
    for number, lines in enumerate(chunks(encode({"namespace": namespace, **given(each)}) for each in memories)):
        added = yield from _send(lines, f"{key}-{number}", TRIES_MAX)
        job_ids += added.job_ids
        accepted += added.accepted
        replayed += added.replayed
        rejected += [dataclasses.replace(each, line=each.line + before) for each in added.rejected]
        before += len(lines)
    return AddedMany(tuple(job_ids), accepted, tuple(rejected), replayed)


def add_lines(lines: Sequence[bytes], *, idempotency_key: str) -> Plan[AddedMany]:
    """Send one chunk of memories that are JSON already: a line each, with its namespace, as the REST API takes it.

    It is tried once, for callers with a patience of their own: with the same key it can be sent again until it is
    answered. Raises ``OstrakaError``.
    """
    return (yield from _send(lines, idempotency_key, 1))


def _send(lines: Sequence[bytes], key: str, tries_max: int) -> Plan[AddedMany]:
    request = Request(
        "POST",
        "/v1/memory/bulk",
        body=b"\n".join(lines),
        content_type="application/x-ndjson",
        idempotency_key=key,
        repeatable=True,
    )
    response = yield from deliver(request, tries_max)
    replayed = int(response.headers.get("idempotent-replayed") == "true")
    return understood(response, lambda answer: _read(answer, replayed))


def chunks(
    lines: Iterable[bytes], memories_max: int = CHUNK_MEMORIES_MAX, bytes_max: int = CHUNK_BYTES_MAX
) -> Iterator[list[bytes]]:
    """Yield the lines in lists that fit both bounds, newlines counted; a line beyond ``bytes_max`` stands alone."""
    chunk: list[bytes] = []
    size = 0
    for line in lines:
        if chunk and (len(chunk) == memories_max or size + len(line) + 1 > bytes_max):
            yield chunk
            chunk, size = [], 0
        chunk.append(line)
        size += len(line) + 1
    if chunk:
        yield chunk


def _read(answer: Any, replayed: int) -> AddedMany:
    rejected = tuple(read(Rejected, each) for each in answer["rejected"])
    return AddedMany((str(answer["job_id"]),), int(answer["accepted"]), rejected, replayed)

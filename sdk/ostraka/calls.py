"""Each call of the API, described once: the request, and how its answer is read."""

import hashlib
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Final, Unpack
from urllib.parse import quote

import httpx

from ostraka.answers import Added, Deleted, Deletion, Health, Job, Memory, Namespace, Page, Results, read
from ostraka.fields import Changes, Conditions, Details, encode, given, query_of
from ostraka.plans import Plan, Request, ask, deliver

_MEMORY: Final = "/v1/memory"
_WAIT_S: Final = 30.0  # how long the server waits for a memory to become searchable


def add(
    namespace: str,
    content: str,
    *,
    wait: bool = False,
    idempotency_key: str | None = None,
    **details: Unpack[Details],
) -> Plan[Added]:
    """Remember something; it is durable when this returns and searchable a moment later.

    ``wait`` returns once it is searchable (30 s at most). ``idempotency_key`` makes calls with the same key and
    arguments one write; without it each call has its own, so that the client may repeat it. Raises ``OstrakaError``.
    """
    body = encode({"namespace": namespace, "content": content, **given(details)})
    request = Request(
        "POST",
        _MEMORY,
        query=query_of(wait="true" if wait else None),
        body=body,
        idempotency_key=idempotency_key or uuid.uuid4().hex,
        repeatable=True,
        wait_s=_WAIT_S if wait else 0.0,
    )
    return (yield from ask(request, lambda answer: read(Added, answer)))


def search(namespace: str, query: str, **conditions: Unpack[Conditions]) -> Plan[Results]:
    """Return the memories that answer ``query`` best, under the conditions given. Raises ``OstrakaError``."""
    body = encode({"namespace": namespace, "query": query, **given(conditions)})
    wait_s = (conditions.get("wait_ms") or 0) / 1e3
    hint = hashlib.sha256(namespace.encode()).hexdigest()[:16]  # names stay out of what routers may log
    request = Request("POST", f"{_MEMORY}/search", body=body, hint=hint, repeatable=True, wait_s=wait_s)
    return (yield from ask(request, lambda answer: read(Results, answer)))


def get(namespace: str, memory_id: str) -> Plan[Memory]:
    """Return the present version of a memory. Raises ``NotFound``."""
    request = Request("GET", _memory(memory_id), query_of(namespace=namespace), repeatable=True)
    return (yield from ask(request, lambda answer: read(Memory, answer)))


def history(namespace: str, memory_id: str) -> Plan[list[Memory]]:
    """Return every version of a memory, oldest first. Raises ``NotFound``."""
    request = Request("GET", f"{_memory(memory_id)}/history", query_of(namespace=namespace), repeatable=True)
    return (yield from ask(request, lambda answer: [read(Memory, version) for version in answer]))


def update(namespace: str, memory_id: str, **changes: Unpack[Changes]) -> Plan[Memory]:
    """Write a new version with some fields changed and return it; ``None`` empties a field.

    Not repeated after a lost answer: it would add one more version. Raises ``NotFound``, ``Conflict``.
    """
    request = Request("PATCH", _memory(memory_id), query_of(namespace=namespace), body=encode(changes))
    return (yield from ask(request, lambda answer: read(Memory, answer)))


def delete(namespace: str, memory_id: str) -> Plan[str | None]:
    """Delete a memory with all its versions, for good; return the id of the receipt.

    ``None`` when an earlier try did it and its answer was lost. Raises ``NotFound``.
    """
    request = Request("DELETE", _memory(memory_id), query_of(namespace=namespace), repeatable=True)
    return _receipt((yield from deliver(request)))


def delete_where(
    namespace: str,
    *,
    session: str | None = None,
    tags: Sequence[str] | None = None,
    filter: Mapping[str, Any] | None = None,  # noqa: A002 - the API's name
) -> Plan[Deleted]:
    """Delete every memory that matches all the conditions, at least one.

    Rows include old versions. Not repeated after a lost answer: its number would be wrong. Raises ``OstrakaError``.
    """
    condition = None if filter is None else encode(filter).decode()
    query = query_of(namespace=namespace, session=session, tags=tags, filter=condition)
    return (yield from ask(Request("DELETE", _MEMORY, query), lambda answer: read(Deleted, answer)))


def deletion(deletion_id: str) -> Plan[Deletion]:
    """Return a deletion's receipt: what was erased where and when, what remains until when. Raises ``NotFound``."""
    request = Request("GET", f"/v1/deletions/{_segment(deletion_id)}", repeatable=True)
    return (yield from ask(request, lambda answer: read(Deletion, answer)))


def list_page(namespace: str, *, session: str | None = None, limit: int = 100, cursor: str | None = None) -> Plan[Page]:
    """Return a page of the present memories, in order of acceptance. Raises ``NotFound``."""
    query = query_of(namespace=namespace, session=session, limit=limit, cursor=cursor)
    return (yield from ask(Request("GET", _MEMORY, query, repeatable=True), lambda answer: read(Page, answer)))


def job(job_id: str) -> Plan[Job]:
    """Return a job with its true counts. Raises ``NotFound``."""
    request = Request("GET", f"/v1/jobs/{_segment(job_id)}", repeatable=True)
    return (yield from ask(request, lambda answer: read(Job, answer)))


def namespaces() -> Plan[list[Namespace]]:
    """Return the namespaces that the API key covers. Raises ``OstrakaError``."""
    request = Request("GET", "/v1/namespaces", repeatable=True)
    return (yield from ask(request, lambda answer: [read(Namespace, each) for each in answer["namespaces"]]))


def namespace(name: str) -> Plan[Namespace]:
    """Return a namespace in numbers. Raises ``NotFound``."""
    request = Request("GET", _namespace(name), repeatable=True)
    return (yield from ask(request, lambda answer: read(Namespace, answer)))


def create_namespace(name: str) -> Plan[Namespace]:
    """Create a namespace, or leave the one that is there as it is. Raises ``OstrakaError``."""
    request = Request("PUT", _namespace(name), repeatable=True)
    return (yield from ask(request, lambda answer: read(Namespace, answer)))


def delete_namespace(name: str) -> Plan[str | None]:
    """Destroy a namespace, its content and its key, for good; return the id of the receipt.

    ``None`` when an earlier try did it and its answer was lost. Raises ``NotFound``.
    """
    return _receipt((yield from deliver(Request("DELETE", _namespace(name), repeatable=True))))


def health() -> Plan[Health]:
    """Return how the server is; needs no API key. Raises ``Unreachable``, ``ServerError``."""
    return (yield from ask(Request("GET", "/health", repeatable=True), lambda answer: read(Health, answer)))


def _receipt(answer: httpx.Response) -> str | None:
    receipt: str | None = answer.headers.get("Ostraka-Deletion")
    return receipt


def _memory(memory_id: str) -> str:
    return f"{_MEMORY}/{_segment(memory_id)}"


def _namespace(name: str) -> str:
    return f"/v1/namespaces/{_segment(name)}"


def _segment(name: str) -> str:
    """Return a name as one segment of a path; ``.`` and ``..`` would otherwise lead elsewhere, as would nothing."""
    if not name:
        raise ValueError("a name or id is empty; give one")
    return quote(name, safe="") if name.strip(".") else name.replace(".", "%2E")

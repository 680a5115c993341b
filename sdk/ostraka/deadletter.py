"""Memories that failed: which and why, trying them again, giving them up."""

from collections.abc import Sequence
from typing import Final

from ostraka.answers import Discarded, FailurePage, read
from ostraka.fields import encode, given, query_of
from ostraka.plans import Plan, Request, ask

_FAILURES: Final = "/v1/failures"


def failures(namespace: str | None = None, *, limit: int = 100, cursor: str | None = None) -> Plan[FailurePage]:
    """Return a page of failed memories, oldest first, of one namespace or of all that the API key covers.

    Raises ``NotFound``.
    """
    request = Request("GET", _FAILURES, query_of(namespace=namespace, limit=limit, cursor=cursor), repeatable=True)
    return (yield from ask(request, lambda answer: read(FailurePage, answer)))


def retry_failures(namespace: str, *, ids: Sequence[str] | None = None, rows: Sequence[str] | None = None) -> Plan[int]:
    """Send failed memories through the pipeline again: those named, or all of the namespace; return how many.

    ``rows`` are those of ``failures()``, for memories without a readable id. Not repeated after a lost answer: its
    number would be wrong. Raises ``NotFound``.
    """
    body = encode({"namespace": namespace, **given({"ids": ids, "rows": rows})})
    request = Request("POST", f"{_FAILURES}/retry", body=body)
    return (yield from ask(request, lambda answer: int(answer["retried"])))


def discard_failures(
    namespace: str, *, ids: Sequence[str] | None = None, rows: Sequence[str] | None = None
) -> Plan[Discarded]:
    """Delete failed memories for good: those named, or all of the namespace.

    A memory goes with all its versions; a failed version that a newer one has replaced goes alone. Not repeated after
    a lost answer: its number would be wrong. Raises ``NotFound``.
    """
    body = encode({"namespace": namespace, **given({"ids": ids, "rows": rows})})
    request = Request("POST", f"{_FAILURES}/discard", body=body)
    return (yield from ask(request, lambda answer: read(Discarded, answer)))

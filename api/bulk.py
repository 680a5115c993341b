"""Reading a bulk body: NDJSON or a JSON list, each line judged by itself."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from api.jsonlist import split_list
from api.problems import faults_in, faults_of, summary_of
from api.schemas import AddMemory
from core import limits
from core.errors import InvalidInput, Malformed, TooLarge
from core.memory import stored_bytes
from core.vectors import INVALID_VECTOR, VectorSpace


@dataclass(frozen=True)
class Rejected:
    """A line that was not accepted, and why."""

    line: int
    code: str
    detail: str


@dataclass(frozen=True)
class BulkLines:
    """The valid memories of a bulk body, all of one namespace, and the lines that were rejected."""

    namespace: str
    items: Sequence[AddMemory]
    rejected: Sequence[Rejected]
    stored_bytes: int


def parse_bulk(body: bytes, content_type: str, space: VectorSpace) -> BulkLines:
    """Parse and validate a bulk body; vectors that lines bring must be of ``space``.

    Raises ``InvalidInput`` when no line is valid, or valid lines name several namespaces; ``Malformed`` for a list that
    is none; ``TooLarge`` beyond ``BULK_ITEMS_MAX`` memories, ``BULK_LINES_MAX`` lines or ``REJECTED_BYTES_MAX``.
    """
    items: list[AddMemory] = []
    rejected: list[Rejected] = []
    rejected_bytes = 0
    for number, line in _numbered(body, content_type):
        if len(items) + len(rejected) == limits.BULK_ITEMS_MAX:
            raise TooLarge(f"more than {limits.BULK_ITEMS_MAX} memories in one call; send several calls")
        judged = _judge(number, line, space)
        if isinstance(judged, AddMemory):
            items.append(judged)
            continue
        rejected.append(judged)
        rejected_bytes += len(line)
        if rejected_bytes > limits.REJECTED_BYTES_MAX:
            raise TooLarge(f"more than {limits.REJECTED_BYTES_MAX} bytes of faulty lines, the last is line {number}")
    if not items:
        first = f"line {rejected[0].line}: {rejected[0].detail}" if rejected else "the body is empty"
        raise InvalidInput(f"no memory can be accepted; {first}", code="nothing_accepted")
    namespaces = {item.namespace for item in items}
    if len(namespaces) > 1:
        raise InvalidInput("namespace: one bulk call writes one namespace; send a call for each", field="namespace")
    return BulkLines(namespaces.pop(), items, rejected, stored_bytes(items))


def _judge(number: int, line: bytes, space: VectorSpace) -> AddMemory | Rejected:
    if len(line) > limits.BODY_BYTES_MAX:
        return Rejected(number, TooLarge.code, f"is larger than {limits.BODY_BYTES_MAX} bytes; split it")
    try:
        memory = AddMemory.model_validate_json(line)
        space.check(memory.embedding)
    except ValidationError as error:
        faults = faults_in(error)
        return Rejected(number, _code_of(faults[0]), summary_of(faults_of(faults)))
    except InvalidInput as error:
        return Rejected(number, error.reason, error.message)
    return memory


def _code_of(fault: Any) -> str:
    if fault["type"] == "json_invalid":
        return Malformed.code
    return INVALID_VECTOR if fault["loc"][:2] == ("embedding", "vector") else InvalidInput.code


def _numbered(body: bytes, content_type: str) -> Iterator[tuple[int, bytes]]:
    """Yield each item's line or place from 1, and its JSON; a list is told by the type or the first character."""
    if "ndjson" not in content_type and body.lstrip()[:1] == b"[":
        yield from enumerate(split_list(body), start=1)
        return
    if body.count(b"\n") > limits.BULK_LINES_MAX:
        raise TooLarge(f"more than {limits.BULK_LINES_MAX} lines in one call, blank ones included; leave those out")
    yield from ((number, line) for number, line in enumerate(io.BytesIO(body), start=1) if line.strip())

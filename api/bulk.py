"""Reading a bulk body: NDJSON or a JSON list, each line judged by itself."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import orjson
from pydantic import ValidationError

from api.problems import faults_of
from api.schemas import AddMemory
from core import limits
from core.errors import InvalidInput, Malformed, TooLarge


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


def parse_bulk(body: bytes, content_type: str) -> BulkLines:
    """Parse and validate a bulk body.

    Raises ``InvalidInput`` when no line is valid, or valid lines name several namespaces; ``TooLarge`` beyond
    ``BULK_ITEMS_MAX`` lines.
    """
    items: list[AddMemory] = []
    rejected: list[Rejected] = []
    for number, line in _numbered(body, content_type):
        if len(items) + len(rejected) == limits.BULK_ITEMS_MAX:
            raise TooLarge(f"more than {limits.BULK_ITEMS_MAX} memories in one call; send several calls")
        try:
            items.append(AddMemory.model_validate_json(line))
        except ValidationError as error:
            faults = faults_of(error)
            code = Malformed.code if error.errors()[0]["type"] == "json_invalid" else InvalidInput.code
            rejected.append(Rejected(number, code, "; ".join(f"{each['field']}: {each['detail']}" for each in faults)))
    if not items:
        first = f"line {rejected[0].line}: {rejected[0].detail}" if rejected else "the body is empty"
        raise InvalidInput(f"no memory can be accepted; {first}", code="nothing_accepted")
    namespaces = {item.namespace for item in items}
    if len(namespaces) > 1:
        raise InvalidInput("namespace: one bulk call writes one namespace; send a call for each", field="namespace")
    return BulkLines(namespaces.pop(), items, rejected)


def _numbered(body: bytes, content_type: str) -> Iterator[tuple[int, bytes]]:
    """Yield each item's line or place from 1, and its JSON; a list is told by the type or the first character."""
    if "ndjson" not in content_type and body.lstrip()[:1] == b"[":
        try:
            given = orjson.loads(body)
        except orjson.JSONDecodeError:
            raise Malformed("the body is not a valid JSON list; correct it") from None
        yield from enumerate(map(orjson.dumps, given), start=1)
    else:
        yield from ((number, line) for number, line in enumerate(body.splitlines(), start=1) if line.strip())

"""The server's validation, here: what it would refuse is never sent. A good row becomes a line of a bulk call."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson
from pydantic import ValidationError

from cli.backfill.mapping import Routes, UnknownFields
from cli.backfill.rows import NOT_UTF8, TOO_LARGE, UNKNOWN_FIELD, Fault, Row
from cli.faults import said_of
from core import limits
from core.errors import InvalidInput
from core.memory import Name, NewMemory
from core.vectors import INVALID_VECTOR, VectorSpace

_ID_DIGITS: Final = 32


class _Line(NewMemory):
    """A line of POST /v1/memory/bulk."""

    namespace: Name


@dataclass(frozen=True, slots=True)
class Good:
    """A line to send, where it came from, and what it shares with others: they must be written in order."""

    source: str
    number: int
    line: bytes
    touches: tuple[int, ...]
    embedded: bool


class Judge:
    """Turns rows into lines for one namespace."""

    def __init__(self, routes: Routes, namespace: str, namespace_id: str, space: VectorSpace | None) -> None:
        """``space`` judges vectors by what the server says; ``None``: the server is not asked."""
        self._routes = routes
        self._namespace = namespace
        self._salt = namespace_id.encode()
        self._space = space

    def judge(self, source: str, row: Row, *, spelled: bool) -> Good | Fault:
        """Return the line of a row, or why there is none."""
        try:
            fields = self._routes.apply(row.fields, spelled=spelled)
        except UnknownFields:
            return Fault(row.number, UNKNOWN_FIELD, "has a field that nothing says what to do with: see --skip")
        try:
            line = orjson.dumps({"namespace": self._namespace, **fields})
        except TypeError:
            return _unwritable(row.number, fields)
        if len(line) > limits.BODY_BYTES_MAX:
            return Fault(row.number, TOO_LARGE, f"is larger than {limits.BODY_BYTES_MAX} bytes; split it")
        try:
            memory = _Line.model_validate_json(line)
            if self._space:
                self._space.check(memory.embedding)
        except ValidationError as error:
            return _fault(row.number, error)
        except InvalidInput as error:
            return Fault(row.number, error.reason, error.message)
        if memory.id is None:
            line = b'{"id":"%s",%s' % (self._made_id(source, row.number, line), line[1:])
        shared = ((name, getattr(memory, name)) for name in ("id", "supersedes", "session"))
        touches = tuple(hash((name == "session", value)) for name, value in shared if value is not None)
        return Good(source, row.number, line, touches, memory.embedding is not None)

    def _made_id(self, source: str, number: int, line: bytes) -> bytes:
        """Return the id of a row that has none: the same row at the same place is the same memory, sent twice or not.

        It tells nothing of the row to anybody who does not know all of it.
        """
        place = f"\0{source}\0{number}\0".encode("utf-8", "surrogateescape")
        return b"row_" + hashlib.sha256(self._salt + place + line).hexdigest()[:_ID_DIGITS].encode()


def _unwritable(number: int, fields: Mapping[str, Any]) -> Fault:
    """Say why fields are no JSON."""
    texts = [value for value in fields.values() if isinstance(value, str)]
    if any("\udc80" <= character <= "\udcff" for text in texts for character in text):
        return Fault(number, NOT_UTF8, "is not UTF-8; convert the file")
    return Fault(number, InvalidInput.code, "holds a value that JSON has nothing for, or text that is no Unicode")


def _fault(number: int, error: ValidationError) -> Fault:
    vector = error.error_count() == 1 and error.errors()[0]["loc"][:2] == ("embedding", "vector")
    return Fault(number, INVALID_VECTOR if vector else InvalidInput.code, said_of(error))

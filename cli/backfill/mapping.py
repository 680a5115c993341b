"""Which column becomes which field of a memory: pure decisions, made from the flags."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from core.errors import ConfigurationError, InvalidInput
from core.memory import NewMemory

ALL: Final = "*"
VECTOR: Final = "vector"
EMBEDDING: Final = "embedding"
METADATA: Final = "metadata"
FIELDS: Final = (*NewMemory.model_fields, VECTOR)
_ALWAYS_SKIPPED: Final = frozenset({"namespace", "created_at"})  # an export has them
_TEXTS: Final = frozenset({"id", "session", "supersedes", "content"})
_PARSERS: Final[Mapping[str, Callable[[str], Any]]] = {
    "tags": orjson.loads,
    METADATA: orjson.loads,
    EMBEDDING: orjson.loads,
    VECTOR: orjson.loads,
    "importance": float,
    "ttl_seconds": int,
}


class UnknownFields(Exception):
    """A row has fields that no flag says what to do with."""


@dataclass(frozen=True)
class Routes:
    """Where columns go. Fields of the API keep their names unless ``fields`` (column to field) says otherwise."""

    fields: Mapping[str, str]
    metadata: frozenset[str] = frozenset()
    skipped: frozenset[str] = frozenset()
    fingerprint: str | None = None

    def route(self, column: str) -> str | None:
        """Return the field that a column becomes, ``metadata.`` for a value of it; ``None``: it is left out.

        Raises ``UnknownFields``.
        """
        if column in self.fields:
            return self.fields[column]
        if column in self.metadata:
            return f"{METADATA}."
        if column in self.skipped:
            return None
        if column in FIELDS and column not in self.fields.values():
            return column
        if ALL in self.metadata:
            return f"{METADATA}."
        if ALL in self.skipped or column in _ALWAYS_SKIPPED:
            return None
        raise UnknownFields

    def check(self, columns: Iterable[str]) -> None:
        """Say at the start what is wrong with a file's columns. Raises ``InvalidInput`` naming them and the remedy."""
        unknown, found = [], set()
        for column in columns:
            try:
                found.add(self.route(column))
            except UnknownFields:
                unknown.append(column)
        if unknown:
            raise InvalidInput(
                f"nothing says what to do with {', '.join(unknown)}: --map FIELD=COLUMN, --metadata COLUMN or --skip "
                "COLUMN do (* is every other)"
            )
        if "content" not in found:
            raise InvalidInput("no column is the content: name it with --map content=COLUMN")
        if VECTOR in found and self.fingerprint is None:
            raise InvalidInput(
                "has vectors: say by --fingerprint what made them (GET /v1/namespaces/{name} tells the server's), or "
                "leave them out with --skip"
            )

    def wanted(self, columns: Iterable[str]) -> tuple[str, ...]:
        """Return the columns that become something."""
        return tuple(column for column in columns if self.route(column) is not None)

    def apply(self, row: Mapping[str, Any], *, spelled: bool) -> dict[str, Any]:
        """Return the fields of a memory; what is empty is left out. Raises ``UnknownFields``.

        ``spelled``: the format has no lists and objects of its own, so text may spell them.
        """
        fields: dict[str, Any] = {}
        metadata: dict[str, Any] = {}
        for column, value in row.items():
            field = self.route(column)
            if field is None or value is None:
                continue
            if field == f"{METADATA}.":
                metadata[column] = value
            else:
                fields[field] = _spelled_out(field, value) if spelled else value
        if metadata:
            base = fields.get(METADATA, {})
            fields[METADATA] = {**base, **metadata} if isinstance(base, dict) else base
        if VECTOR in fields:
            fields[EMBEDDING] = {"fingerprint": self.fingerprint, VECTOR: fields.pop(VECTOR)}
        return fields


def read_routes(maps: Iterable[str], metadata: str, skipped: str, fingerprint: str | None) -> Routes:
    """Return what the flags say. Raises ``ConfigurationError`` naming the flag at fault."""
    fields: dict[str, str] = {}
    for given in maps:
        field, equals, column = given.partition("=")
        if not equals or not column:
            raise ConfigurationError("--map: must be FIELD=COLUMN, such as content=body")
        if field not in FIELDS:
            raise ConfigurationError(f"--map: {field} is no field of a memory; choose from {', '.join(FIELDS)}")
        if column in fields or field in fields.values():
            raise ConfigurationError(f"--map: {given} names a field or a column a second time; one to one")
        fields[column] = field
    routes = Routes(fields, _names(metadata), _names(skipped), fingerprint)
    if twice := (routes.metadata & routes.skipped) | ((routes.metadata | routes.skipped) & fields.keys()):
        raise ConfigurationError(f"--map, --metadata, --skip: {min(twice)} is in more than one of them")
    return routes


def _names(listed: str) -> frozenset[str]:
    return frozenset(name for name in listed.split(",") if name)


def _spelled_out(field: str, value: Any) -> Any:
    """Return what a text says, where the field is none; one that says nothing is left for the validation to refuse."""
    if not isinstance(value, str):
        return str(value) if field in _TEXTS and type(value) is int else value
    listed = value.lstrip().startswith("[")
    if field == "tags" and not listed:
        return [tag for tag in map(str.strip, value.split(",")) if tag]
    parse = _PARSERS.get(field) if field != VECTOR or listed else None  # else it is base64
    try:
        return parse(value) if parse else value
    except ValueError:
        return value

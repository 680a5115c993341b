"""Filters on metadata: parsed once, then evaluated on a shard's attributes as a mask over its memories.

    filter     := {"and": [filter, …]} | {"or": [filter, …]} | {"not": filter} | {path: condition, …}
    condition  := value | {operator: operand, …}
    operator   := eq ne in gt gte lt lte exists contains

Several paths or operators in one object must all hold. A path joins keys with dots. A list in the metadata holds
for an operator if any of its values does. ``ne`` and ``not`` also hold where the path is missing. Numbers compare
with numbers, text with text (by code point, so RFC 3339 times in one zone compare as times). ``contains`` asks for
a part of a text, or a member of a list.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from core import limits
from core.errors import InvalidInput
from core.shards.attributes import BOOL, NULL, NUMBER, TEXT, Attributes

Mask = npt.NDArray[np.bool_]
_Scalar = str | float | int | bool | None

_ORDER: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "gt": pc.greater,
    "gte": pc.greater_equal,
    "lt": pc.less,
    "lte": pc.less_equal,
}


class Filter(Protocol):
    """Something that says which memories of a shard it allows."""

    def mask(self, attributes: Attributes) -> Mask:
        """Return bool[rows]."""


@dataclass(frozen=True)
class All:
    """Every part holds."""

    parts: tuple[Filter, ...]

    def mask(self, attributes: Attributes) -> Mask:
        """Return the conjunction of the parts."""
        result = np.ones(attributes.rows, np.bool_)
        for part in self.parts:
            result &= part.mask(attributes)
        return result


@dataclass(frozen=True)
class Either:
    """At least one part holds."""

    parts: tuple[Filter, ...]

    def mask(self, attributes: Attributes) -> Mask:
        """Return the disjunction of the parts."""
        result = np.zeros(attributes.rows, np.bool_)
        for part in self.parts:
            result |= part.mask(attributes)
        return result


@dataclass(frozen=True)
class Not:
    """The part does not hold."""

    part: Filter

    def mask(self, attributes: Attributes) -> Mask:
        """Return the negation of the part."""
        return ~self.part.mask(attributes)


@dataclass(frozen=True)
class Leaf:
    """One operator on one path."""

    path: str
    operator: str
    operand: Any

    def mask(self, attributes: Attributes) -> Mask:
        """Return where any value at the path satisfies the operator."""
        leaves = attributes.leaves(self.path)
        result = np.zeros(attributes.rows, np.bool_)
        if leaves.num_rows:
            hits = np.asarray(self._matches(leaves))
            result[leaves["row"].to_numpy()[hits]] = True
        return result

    def _matches(self, leaves: pa.Table) -> Mask:
        match self.operator:
            case "exists":
                return np.ones(leaves.num_rows, np.bool_)
            case "contains" if isinstance(self.operand, str):
                found = pc.match_substring(leaves["text"], self.operand)
                return _kind(leaves, TEXT) & _bools(found)
            case "eq" | "contains":
                return _equal(leaves, self.operand)
            case "in":
                result = np.zeros(leaves.num_rows, np.bool_)
                for value in self.operand:
                    result |= _equal(leaves, value)
                return result
        kind, column = (TEXT, "text") if isinstance(self.operand, str) else (NUMBER, "number")
        return _kind(leaves, kind) & _bools(_ORDER[self.operator](leaves[column], self.operand))


def parse_filter(given: Any) -> Filter:
    """Return the filter of a request. Raises ``InvalidInput`` naming the place and the remedy."""
    return _Parser().parse(given, "filter", 1)


class _Parser:
    """Counts what it builds, so that a small request cannot ask for unbounded work."""

    def __init__(self) -> None:
        self._nodes = 0

    def parse(self, given: Any, where: str, depth: int) -> Filter:
        if not isinstance(given, dict) or not given:
            raise InvalidInput(f'{where}: must be an object such as {{"status": "open"}}', field=where)
        if depth > limits.FILTER_DEPTH_MAX:
            raise InvalidInput(f"{where}: nested deeper than {limits.FILTER_DEPTH_MAX} levels", field=where)
        parts = tuple(self._entry(key, value, f"{where}.{key}", depth) for key, value in given.items())
        return parts[0] if len(parts) == 1 else All(parts)

    def _entry(self, key: str, value: Any, where: str, depth: int) -> Filter:
        self._count(where)
        match key:
            case "and":
                return All(tuple(self._list(value, where, depth)))
            case "or":
                return Either(tuple(self._list(value, where, depth)))
            case "not":
                return Not(self.parse(value, where, depth + 1))
        if isinstance(value, dict):
            if not value:
                raise InvalidInput(f'{where}: needs an operator such as {{"eq": 1}}', field=where)
            return All(tuple(self._leaf(key, name, operand, f"{where}.{name}") for name, operand in value.items()))
        return self._leaf(key, "eq", value, where)

    def _list(self, value: Any, where: str, depth: int) -> Iterable[Filter]:
        if not isinstance(value, list) or not value:
            raise InvalidInput(f"{where}: must be a list of filters, at least one", field=where)
        return [self.parse(item, f"{where}[{index}]", depth + 1) for index, item in enumerate(value)]

    def _leaf(self, path: str, operator: str, operand: Any, where: str) -> Filter:
        self._count(where)
        match operator:
            case "ne":
                return Not(Leaf(path, "eq", _scalar(operand, where)))
            case "exists":
                if not isinstance(operand, bool):
                    raise InvalidInput(f"{where}: must be true or false", field=where)
                leaf = Leaf(path, "exists", operand)
                return leaf if operand else Not(leaf)
            case "in":
                if not isinstance(operand, list) or len(operand) > limits.FILTER_LIST_MAX:
                    raise InvalidInput(
                        f"{where}: must be a list of at most {limits.FILTER_LIST_MAX} values", field=where
                    )
                return Leaf(path, "in", [_scalar(value, where) for value in operand])
            case "gt" | "gte" | "lt" | "lte":
                if isinstance(operand, bool) or not isinstance(operand, str | int | float):
                    raise InvalidInput(f"{where}: must be a number or a text", field=where)
                return Leaf(path, operator, _scalar(operand, where))
            case "eq" | "contains":
                return Leaf(path, operator, _scalar(operand, where))
        raise InvalidInput(
            f"{where}: there is no operator {operator!r}; use eq, ne, in, gt, gte, lt, lte, exists or contains",
            field=where,
        )

    def _count(self, where: str) -> None:
        if not _is_unicode(where):
            raise InvalidInput("filter: a name in it is not Unicode text: a lone surrogate", field="filter")
        self._nodes += 1
        if self._nodes > limits.FILTER_NODES_MAX:
            raise InvalidInput(f"filter: has more than {limits.FILTER_NODES_MAX} parts", field=where)


def _scalar(value: Any, where: str) -> _Scalar:
    if value is None or isinstance(value, bool) or (isinstance(value, str) and _is_unicode(value)):
        return value
    if isinstance(value, int | float) and abs(value) <= limits.INTEGER_ABS_MAX:
        return value
    if isinstance(value, float) and np.isfinite(value):
        return value
    raise InvalidInput(f"{where}: must be a text, a number within 2^53, true, false or null", field=where)


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # a lone surrogate, which JSON can spell
        return False
    return True


def _equal(leaves: pa.Table, value: _Scalar) -> Mask:
    match value:
        case None:
            return _kind(leaves, NULL)
        case bool():
            return _kind(leaves, BOOL) & _is(leaves, float(value))
        case str():
            return _kind(leaves, TEXT) & _bools(pc.equal(leaves["text"], value))
    return _kind(leaves, NUMBER) & _is(leaves, float(value))


def _is(leaves: pa.Table, number: float) -> Mask:
    mask: Mask = leaves["number"].to_numpy() == number
    return mask


def _kind(leaves: pa.Table, kind: int) -> Mask:
    mask: Mask = leaves["kind"].to_numpy() == kind
    return mask


def _bools(column: Any) -> Mask:
    mask: Mask = column.to_numpy(zero_copy_only=False) if isinstance(column, pa.Array) else column.to_numpy()
    return mask.astype(np.bool_)

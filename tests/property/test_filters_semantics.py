"""A filter on a shard's columns says what its definition, read plainly on the metadata, says."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from core.search.filters import parse_filter
from core.shards.attributes import AttributeRow, Attributes

KEYS = ["a", "b", "c", "a.b", "é"]
words = st.sampled_from(["", "a", "A", "ab", "b", "aé", "é", "\U0001f600", "\uffff", "1", "2026-01-31", "true", "null"])
numbers = st.sampled_from([-1, 0, 1, 2, 1.0, 0.5, -0.0, 1e300, 2**53 - 1, -(2**53) + 1])
scalars = st.none() | st.booleans() | numbers | words
trees = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=3)
)
metadata = st.dictionaries(st.sampled_from(KEYS), trees, max_size=4)
paths = st.sampled_from([*KEYS, "a.a", "b.c", "a.b.c", "missing"])

operators = st.fixed_dictionaries(
    {},
    optional={
        "eq": scalars,
        "ne": scalars,
        "in": st.lists(scalars, max_size=3),
        "gt": numbers | words,
        "gte": numbers | words,
        "lt": numbers | words,
        "lte": numbers | words,
        "exists": st.booleans(),
        "contains": scalars,
    },
).filter(bool)
conditions = st.dictionaries(paths, scalars | operators, min_size=1, max_size=2)
filters = st.recursive(
    conditions,
    lambda inner: (
        st.fixed_dictionaries({"and": st.lists(inner, min_size=1, max_size=3)})
        | st.fixed_dictionaries({"or": st.lists(inner, min_size=1, max_size=3)})
        | st.fixed_dictionaries({"not": inner})
        | st.fixed_dictionaries({"not": inner, "a": scalars, "or": st.lists(inner, min_size=1, max_size=2)})
    ),
    max_leaves=5,
)


def values_at(value: Any, path: str, here: str = "") -> list[Any]:
    """Return the values of a path in a metadata object, found by walking it."""
    if isinstance(value, dict):
        return [
            found for key, item in value.items() for found in values_at(item, path, f"{here}.{key}" if here else key)
        ]
    if isinstance(value, list):
        return [found for item in value for found in values_at(item, path, here)]
    return [value] if here == path else []


def kind(value: Any) -> str:
    return "number" if type(value) in {int, float} else type(value).__name__


def equal(one: Any, two: Any) -> bool:
    return kind(one) == kind(two) and one == two


def holds(value: Any, operator: str, operand: Any) -> bool:
    match operator:
        case "eq":
            return equal(value, operand)
        case "in":
            return any(equal(value, each) for each in operand)
        case "contains":
            text = isinstance(operand, str)
            return (isinstance(value, str) and operand in value) if text else equal(value, operand)
    if kind(value) != kind(operand):
        return False
    return {"gt": value > operand, "gte": value >= operand, "lt": value < operand, "lte": value <= operand}[operator]


def condition_allows(found: list[Any], condition: Any) -> bool:
    for operator, operand in (condition if isinstance(condition, dict) else {"eq": condition}).items():
        match operator:
            case "exists":
                allowed = bool(found) == operand
            case "ne":
                allowed = not any(equal(value, operand) for value in found)
            case _:
                allowed = any(holds(value, operator, operand) for value in found)
        if not allowed:
            return False
    return True


def allows(given_filter: dict[str, Any], row: dict[str, Any]) -> bool:
    for key, value in given_filter.items():
        match key:
            case "and":
                allowed = all(allows(part, row) for part in value)
            case "or":
                allowed = any(allows(part, row) for part in value)
            case "not":
                allowed = not allows(value, row)
            case _:
                allowed = condition_allows(values_at(row, key), value)
        if not allowed:
            return False
    return True


def attributes(rows: list[dict[str, Any]]) -> Attributes:
    return Attributes.of(
        [AttributeRow(number, 0, None, None, None, None, [], None, row) for number, row in enumerate(rows)]
    )


@given(st.lists(metadata, max_size=8), filters)
def test_a_mask_is_what_reading_each_memory_gives(rows, given_filter):
    mask = parse_filter(given_filter).mask(attributes(rows))
    assert mask.tolist() == [allows(given_filter, row) for row in rows]


@given(st.lists(metadata, min_size=1, max_size=8), filters, filters)
def test_the_laws_of_logic_hold(rows, one, two):
    held = attributes(rows)

    def mask(given_filter: dict[str, Any]) -> list[bool]:
        return parse_filter(given_filter).mask(held).tolist()

    assert mask({"not": {"not": one}}) == mask(one)
    assert mask({"not": {"and": [one, two]}}) == mask({"or": [{"not": one}, {"not": two}]})
    assert mask({"and": [one, two]}) == mask({"and": [two, one]})


@given(st.lists(metadata, min_size=1, max_size=8), filters, st.randoms(use_true_random=False))
def test_a_memory_is_judged_alone_as_among_others(rows, given_filter, random):
    """The same filter judges a shard's rows and a single row that no shard holds yet."""
    together = parse_filter(given_filter).mask(attributes(rows)).tolist()
    assert together == [bool(parse_filter(given_filter).mask(attributes([row]))[0]) for row in rows]
    order = random.sample(range(len(rows)), len(rows))
    shuffled = parse_filter(given_filter).mask(attributes([rows[each] for each in order])).tolist()
    assert shuffled == [together[each] for each in order]

import numpy as np
import pyarrow as pa
import pytest

from core import limits
from core.shards.attributes import (
    BOOL,
    NEVER,
    NULL,
    NUMBER,
    TEXT,
    AttributeRow,
    Attributes,
    Leaf,
    flatten,
    write_attributes,
)


def row(number: int = 0, **fields) -> AttributeRow:
    defaults = {
        "created_at": 10 + number,
        "occurred_at": None,
        "expires_at": None,
        "closed_at": None,
        "session": None,
        "tags": [],
        "importance": None,
        "metadata": {},
    }
    return AttributeRow(id=number, **{**defaults, **fields})


ROWS = [
    row(0, session="s", tags=["a", "b"], metadata={"x": 1, "y": {"z": ["p", None]}}),
    row(1, occurred_at=-5, expires_at=90, importance=0.5),
    row(2, closed_at=70, session="t", tags=["b"], metadata={"x": [True, 2.5], "a": "ü"}),
    row(3, session="s", metadata={"y.z": "q", "x": 1}),
]


@pytest.fixture(params=["in memory", "on file"])
def held(request, tmp_path) -> Attributes:
    if request.param == "in memory":
        return Attributes.of(ROWS)
    write_attributes(tmp_path, iter(ROWS))
    return Attributes.open(tmp_path)


def test_times_default_to_when_it_was_accepted_and_never(held):
    assert held.times("created_at").tolist() == [10, 11, 12, 13]
    assert held.times("occurred_at").tolist() == [10, -5, 12, 13]
    assert held.times("expires_at").tolist() == [NEVER, 90, NEVER, NEVER]
    assert held.times("closed_at").tolist() == [NEVER, NEVER, 70, NEVER]
    assert held.times("created_at").dtype == np.int64


def test_other_columns_keep_rows_in_order(held):
    assert held.rows == 4
    assert held.column("session").to_pylist() == ["s", None, "t", "s"]
    assert held.column("tags").to_pylist() == [["a", "b"], [], ["b"], []]
    assert held.column("importance").to_pylist() == [None, 0.5, None, None]
    assert isinstance(held.column("session"), pa.DictionaryArray)


@pytest.mark.parametrize(
    ("path", "leaves"),
    [
        ("x", [(0, NUMBER, 1.0, ""), (2, BOOL, 1.0, ""), (2, NUMBER, 2.5, ""), (3, NUMBER, 1.0, "")]),
        ("y.z", [(0, TEXT, 0.0, "p"), (0, NULL, 0.0, ""), (3, TEXT, 0.0, "q")]),
        ("a", [(2, TEXT, 0.0, "ü")]),
        ("y", []),
        ("", []),
        ("nothing", []),
    ],
)
def test_a_path_gives_its_leaves_in_row_order(held, path, leaves):
    table = held.leaves(path)
    found = [tuple(leaf[name] for name in ("row", "kind", "number", "text")) for leaf in table.to_pylist()]
    assert found == leaves


def test_no_rows_are_no_rows(tmp_path):
    write_attributes(tmp_path, [])
    for held in (Attributes.of([]), Attributes.open(tmp_path)):
        assert held.rows == 0
        assert held.leaves("x").num_rows == 0
        assert held.times("created_at").tolist() == []


def test_flattening_joins_keys_and_opens_lists():
    metadata = {"a": {"b": [1, {"c": "d"}]}, "e": None, "f": False, "g": [], "h": {}, "i": [[2]]}
    assert list(flatten(metadata)) == [
        Leaf("a.b", NUMBER, 1.0, ""),
        Leaf("a.b.c", TEXT, 0.0, "d"),
        Leaf("e", NULL, 0.0, ""),
        Leaf("f", BOOL, 0.0, ""),
        Leaf("i", NUMBER, 2.0, ""),
    ]


def test_the_largest_integers_stay_apart():
    edge = limits.INTEGER_ABS_MAX
    numbers = [leaf.number for leaf in flatten({"n": [edge, edge - 1, -edge, -edge + 1]})]
    assert len(set(numbers)) == 4
    assert [int(number) for number in numbers] == [edge, edge - 1, -edge, -edge + 1]


def test_many_distinct_keys_cost_rows_not_columns(tmp_path):
    rows = [row(number, metadata={f"key-{number}-{part}": part for part in range(20)}) for number in range(500)]
    write_attributes(tmp_path, rows)
    held = Attributes.open(tmp_path)
    for number in (0, 250, 499):
        assert held.leaves(f"key-{number}-7").to_pylist() == [
            {"path": f"key-{number}-7", "row": number, "kind": NUMBER, "number": 7.0, "text": ""}
        ]

import pytest

from core import limits
from core.errors import InvalidInput
from core.search.filters import parse_filter
from core.shards.attributes import AttributeRow, Attributes, write_attributes

ROWS = [
    {"status": "open", "n": 1, "tags": ["red", "blue"], "who": {"name": "Ann", "age": 31}},
    {"status": "closed", "n": 2.5, "tags": [], "flag": True},
    {"status": None, "n": "2", "tags": "red", "flag": False},
    {},
    {"who.name": "Bo", "n": [3, "x", None], "when": "2026-02-01T00:00:00Z"},
]


@pytest.fixture
def held() -> Attributes:
    return Attributes.of(
        [AttributeRow(number, 0, None, None, None, None, [], None, row) for number, row in enumerate(ROWS)]
    )


@pytest.mark.parametrize(
    ("given_filter", "rows"),
    [
        ({"status": "open"}, [0]),
        ({"status": None}, [2]),
        ({"status": {"ne": "open"}}, [1, 2, 3, 4]),
        ({"status": {"exists": True}}, [0, 1, 2]),
        ({"status": {"exists": False}}, [3, 4]),
        ({"status": {"in": ["open", None]}}, [0, 2]),
        ({"status": {"in": []}}, []),
        ({"n": 1}, [0]),
        ({"n": 1.0}, [0]),
        ({"n": True}, []),
        ({"flag": True}, [1]),
        ({"flag": 1}, []),
        ({"n": {"gt": 1, "lt": 3}}, [1]),
        ({"n": {"gte": 1, "lte": 3}}, [0, 1, 4]),
        ({"n": {"gte": "2"}}, [2, 4]),
        ({"tags": "red"}, [0, 2]),
        ({"tags": {"contains": "re"}}, [0, 2]),
        ({"tags": {"contains": "RED"}}, []),
        ({"n": {"contains": 3}}, [4]),
        ({"n": {"contains": None}}, [4]),
        ({"tags": {"contains": ""}}, [0, 2]),
        ({"who.name": {"exists": True}}, [0, 4]),
        ({"who.age": {"gt": 30}}, [0]),
        ({"who": {"exists": True}}, []),
        ({"when": {"lt": "2026-03-01T00:00:00Z"}}, [4]),
        ({"not": {"status": "open"}}, [1, 2, 3, 4]),
        ({"or": [{"status": "open"}, {"flag": False}]}, [0, 2]),
        ({"and": [{"n": {"exists": True}}, {"not": {"tags": "red"}}]}, [1, 4]),
        ({"status": "open", "n": 2.5}, []),
        ({"no.such.path": {"ne": 1}}, [0, 1, 2, 3, 4]),
    ],
)
def test_which_rows_a_filter_allows(held, given_filter, rows):
    assert parse_filter(given_filter).mask(held).nonzero()[0].tolist() == rows


def test_a_filter_on_no_rows_is_an_empty_mask():
    assert parse_filter({"a": {"ne": 1}}).mask(Attributes.of([])).tolist() == []


def test_a_filter_reads_files_as_it_reads_memory(held, tmp_path):
    write_attributes(tmp_path, [AttributeRow(n, 0, None, None, None, None, [], None, r) for n, r in enumerate(ROWS)])
    mapped = Attributes.open(tmp_path)
    for given_filter in ({"n": {"gt": 0}}, {"tags": {"contains": "e"}}, {"not": {"who.name": "Ann"}}):
        assert parse_filter(given_filter).mask(mapped).tolist() == parse_filter(given_filter).mask(held).tolist()


def nested(depth: int) -> dict:
    given_filter: dict = {"a": 1}
    for _ in range(depth - 1):
        given_filter = {"not": given_filter}
    return given_filter


@pytest.mark.parametrize(
    ("given_filter", "field", "said"),
    [
        (None, "filter", "object"),
        ([], "filter", "object"),
        ({}, "filter", "object"),
        ({"and": []}, "filter.and", "at least one"),
        ({"or": {"a": 1}}, "filter.or", "list"),
        ({"or": [{"a": 1}, 5]}, "filter.or[1]", "object"),
        ({"not": [1]}, "filter.not", "object"),
        ({"a": {}}, "filter.a", "operator"),
        ({"a": {"like": "x"}}, "filter.a.like", "no operator 'like'"),
        ({"a": {"$eq": 1}}, "filter.a.$eq", "use eq, ne"),
        ({"a": [1]}, "filter.a", "text, a number"),
        ({"a": {"eq": {"b": 1}}}, "filter.a.eq", "text, a number"),
        ({"a": {"in": "x"}}, "filter.a.in", "list"),
        ({"a": {"in": [[]]}}, "filter.a.in", "text, a number"),
        ({"a": {"in": [0] * (limits.FILTER_LIST_MAX + 1)}}, "filter.a.in", "at most 1000"),
        ({"a": {"gt": None}}, "filter.a.gt", "number or a text"),
        ({"a": {"lte": True}}, "filter.a.lte", "number or a text"),
        ({"a": {"exists": 1}}, "filter.a.exists", "true or false"),
        ({"a": 2**53}, "filter.a", "2^53"),
        ({"a": {"gt": -(2**53)}}, "filter.a.gt", "2^53"),
        ({"a": float("nan")}, "filter.a", "2^53"),
        ({"a": float("inf")}, "filter.a", "2^53"),
        (nested(limits.FILTER_DEPTH_MAX + 1), "filter" + ".not" * limits.FILTER_DEPTH_MAX, "deeper"),
        ({"or": [{"a": 1}] * limits.FILTER_NODES_MAX}, None, "more than 100 parts"),
        ({str(number): 1 for number in range(limits.FILTER_NODES_MAX)}, None, "more than 100 parts"),
    ],
)
def test_a_bad_filter_is_refused_at_its_place(given_filter, field, said):
    with pytest.raises(InvalidInput, match="filter") as refused:
        parse_filter(given_filter)
    assert said in refused.value.message
    assert field is None or refused.value.field == field


@pytest.mark.parametrize(
    "given_filter",
    [
        nested(limits.FILTER_DEPTH_MAX),
        {"a": {"in": [0] * limits.FILTER_LIST_MAX}},
        {str(number): 1 for number in range(limits.FILTER_NODES_MAX // 2)},
        {"a": 1e300},
    ],
)
def test_a_filter_at_its_limits_is_accepted(held, given_filter):
    assert parse_filter(given_filter).mask(held).shape == (len(ROWS),)


@pytest.mark.parametrize("operator", ["eq", "ne", "gt", "contains", "in"])
def test_text_that_is_not_unicode_is_refused(operator):
    with pytest.raises(InvalidInput):
        parse_filter({"a": {operator: ["\ud800"] if operator == "in" else "\ud800"}})

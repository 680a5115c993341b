from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from core import limits
from core.memory import NewMemory, Stored


def new(**fields) -> NewMemory:
    return NewMemory.model_validate({"content": "x", **fields})


def refused(**fields) -> str:
    with pytest.raises(ValidationError) as raised:
        new(**fields)
    faults = raised.value.errors()
    assert {fault["loc"][:1] for fault in faults} <= {(name,) for name in fields} | {()}
    return "; ".join(fault["msg"] for fault in faults)


def nested(depth: int) -> dict:
    value: object = 1
    for _ in range(depth):
        value = {"a": value}
    return value


def test_content_alone_is_a_memory():
    memory = new()
    assert memory.metadata == {}
    assert memory.tags == []
    assert memory.id is memory.session is memory.importance is memory.occurred_at is memory.supersedes is None


def test_an_unknown_field_is_refused():
    assert "Extra inputs" in refused(contents="y")


@pytest.mark.parametrize("size", [limits.CONTENT_BYTES_MAX - 1, limits.CONTENT_BYTES_MAX])
def test_content_up_to_its_limit(size):
    assert len(new(content="x" * size).content) == size


@pytest.mark.parametrize("content", ["x" * (limits.CONTENT_BYTES_MAX + 1), "ü" * (limits.CONTENT_BYTES_MAX // 2 + 1)])
def test_content_beyond_its_limit_in_bytes(content):
    assert "split it" in refused(content=content)


@pytest.mark.parametrize("content", ["", " \n\t", "\u3000"])
def test_blank_content_is_refused(content):
    assert "blank" in refused(content=content)


@pytest.mark.parametrize("field", ["id", "session", "supersedes"])
@pytest.mark.parametrize(
    "name", ["", " a", "a\n", "a\x00b", "a\u2028b", "a" * (limits.NAME_CHARS_MAX + 1), "\ud800", 7]
)
def test_bad_names_are_refused(field, name):
    assert refused(**{field: name})


@pytest.mark.parametrize("field", ["id", "session", "supersedes"])
def test_names_are_normalised(field):
    assert getattr(new(**{field: "e\u0301"}), field) == "é"


def test_a_name_up_to_its_limit():
    assert new(id="a" * limits.NAME_CHARS_MAX).id == "a" * limits.NAME_CHARS_MAX


def test_a_memory_cannot_supersede_itself():
    assert "supersede itself" in refused(id="a", supersedes="a")
    assert new(id="a", supersedes="b").supersedes == "b"


def test_tags_are_unique_in_their_first_order():
    assert new(tags=["b", "a", "b", "e\u0301", "é"]).tags == ["b", "a", "é"]


@pytest.mark.parametrize(
    "tags", [["x"] * (limits.TAGS_MAX + 1), [""], ["a" * (limits.TAG_CHARS_MAX + 1)], [" a"], "a", [None]]
)
def test_bad_tags_are_refused(tags):
    assert refused(tags=tags)


@pytest.mark.parametrize("importance", [0, 0.5, 1])
def test_importance_lies_from_zero_to_one(importance):
    assert new(importance=importance).importance == importance


@pytest.mark.parametrize("importance", [-0.01, 1.01, float("nan"), float("inf"), "high"])
def test_importance_beyond_is_refused(importance):
    assert refused(importance=importance)


@pytest.mark.parametrize("seconds", [0, -1, limits.TTL_SECONDS_MAX + 1, 1.5])
def test_bad_lifetimes_are_refused(seconds):
    assert refused(ttl_seconds=seconds)


@pytest.mark.parametrize(
    "metadata",
    [
        nested(limits.METADATA_DEPTH_MAX),
        {"n": [limits.INTEGER_ABS_MAX, -limits.INTEGER_ABS_MAX, 1.5e300, None, True, "x", [1, [2]]]},
        {"k" + str(number): number for number in range(limits.METADATA_VALUES_MAX)},
        {"a.b": 1},
        {"x": "y" * (limits.METADATA_BYTES_MAX - 8)},
        {},
    ],
)
def test_metadata_within_its_limits(metadata):
    assert new(metadata=metadata).metadata == metadata


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        (nested(limits.METADATA_DEPTH_MAX + 1), "deeper"),
        ({"n": [1] * (limits.METADATA_VALUES_MAX + 1)}, "values"),
        ({"x": "y" * (limits.METADATA_BYTES_MAX - 7)}, "bytes as JSON"),
        ({"n": 2**53}, "2^53"),
        ({"n": [-(2**53)]}, "2^53"),
        ({"n": 10**400}, "2^53"),
        ({"n": float("nan")}, "finite"),
        ({"n": {"m": float("-inf")}}, "finite"),
        ({"n": {"": 1}}, "non-empty"),
        ({"": 1}, "non-empty"),
        ({"n": {1: 1}}, "non-empty strings"),
        ({"n": object()}, "JSON"),
        ({"n": b"x"}, "JSON"),
        ({"n": "\ud800"}, "Unicode"),
        ({"n": {"\udfff": [1]}}, "Unicode"),
        ([1], "dictionary"),
    ],
)
def test_metadata_the_filters_could_not_honour_is_refused(metadata, said):
    assert said in refused(metadata=metadata)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-31T12:00:00Z", datetime(2026, 1, 31, 12, tzinfo=UTC)),
        ("2026-01-31T12:00:00.25+05:30", datetime(2026, 1, 31, 6, 30, 0, 250_000, tzinfo=UTC)),
        ("0001-01-02T00:00:00Z", datetime(1, 1, 2, tzinfo=UTC)),
        ("9999-12-30T00:00:00Z", datetime(9999, 12, 30, tzinfo=UTC)),
    ],
)
def test_times_are_rfc_3339(text, moment):
    assert new(occurred_at=text).occurred_at == moment


@pytest.mark.parametrize(
    "value",
    [
        1_700_000_000,
        1.7e9,
        True,
        "1700000000",
        "1700000000000",
        "2026-01-31T12:00:00",
        "2026-01-31",
        "yesterday",
        "0001-01-01T00:00:00+23:00",
        "9999-12-31T23:59:59-23:59",
        "2026-02-30T00:00:00Z",
    ],
)
def test_anything_else_is_no_time(value):
    assert refused(occurred_at=value)


def test_a_time_keeps_the_zone_its_author_gave():
    stored = Stored.of(new(occurred_at="2026-01-31T12:00:00+05:30"), "mem_a")
    assert Stored.from_bytes(stored.to_bytes()).occurred_at.isoformat() == "2026-01-31T12:00:00+05:30"


def test_a_memory_does_not_change_once_validated():
    with pytest.raises(ValidationError):
        new().content = "y"

"""Which column becomes which field."""

import pytest

from cli.backfill.mapping import UnknownFields, read_routes
from core.errors import ConfigurationError, InvalidInput


def routes(*maps, metadata="", skip="", fingerprint=None):
    return read_routes(maps, metadata, skip, fingerprint)


def test_fields_of_the_api_keep_their_names():
    row = {"content": "x", "id": "a", "tags": ["b"], "session": None}
    assert routes().apply(row, spelled=False) == {"content": "x", "id": "a", "tags": ["b"]}


def test_columns_are_renamed_gathered_and_left_out():
    row = {"body": "x", "uuid": "a", "price": 3, "shop": "s", "junk": 1, "empty": None}
    found = routes("content=body", "id=uuid", metadata="price,shop,empty", skip="junk").apply(row, spelled=False)
    assert found == {"content": "x", "id": "a", "metadata": {"price": 3, "shop": "s"}}


def test_every_other_column_can_be_metadata_or_left_out():
    row = {"content": "x", "a": 1, "b": 2}
    assert routes(metadata="*", skip="b").apply(row, spelled=False)["metadata"] == {"a": 1}
    assert routes(metadata="b", skip="*").apply(row, spelled=False)["metadata"] == {"b": 2}


def test_a_field_that_is_mapped_is_not_taken_from_its_own_name():
    found = routes("content=body", metadata="*").apply({"body": "x", "content": "y"}, spelled=False)
    assert found == {"content": "x", "metadata": {"content": "y"}}


def test_columns_join_the_metadata_that_is_there():
    row = {"content": "x", "metadata": {"a": 1, "b": 1}, "b": 2}
    assert routes(metadata="b").apply(row, spelled=False)["metadata"] == {"a": 1, "b": 2}
    broken = routes(metadata="b").apply({"metadata": "no object", "b": 2}, spelled=True)
    assert broken["metadata"] == "no object"  # for the validation to refuse


def test_what_no_flag_names_is_not_dropped():
    with pytest.raises(UnknownFields):
        routes().apply({"content": "x", "tag": "y"}, spelled=False)
    exported = {"content": "x", "namespace": "n", "created_at": "2026-01-01T00:00:00Z"}
    assert routes().apply(exported, spelled=False) == {"content": "x"}


def test_text_spells_what_a_format_has_no_types_for():
    row = {"content": "7", "id": 7, "tags": "a, b,,c", "metadata": '{"a": 1}', "importance": ".5", "ttl_seconds": "60"}
    assert routes().apply(row, spelled=True) == {
        "content": "7",
        "id": "7",
        "tags": ["a", "b", "c"],
        "metadata": {"a": 1},
        "importance": 0.5,
        "ttl_seconds": 60,
    }
    assert routes().apply({"tags": '["a, b"]'}, spelled=True) == {"tags": ["a, b"]}
    unreadable = {"tags": "[", "metadata": "{", "importance": "high", "ttl_seconds": "1.5"}
    assert routes().apply(unreadable, spelled=True) == unreadable
    assert routes().apply({"tags": "a,b"}, spelled=False) == {"tags": "a,b"}


def test_a_vector_travels_with_the_fingerprint_of_the_flag():
    found = routes("vector=v", fingerprint="f").apply({"content": "x", "v": "[1, 2]"}, spelled=True)
    assert found["embedding"] == {"fingerprint": "f", "vector": [1, 2]}
    assert routes(fingerprint="f").apply({"vector": "AAAA"}, spelled=True)["embedding"]["vector"] == "AAAA"


@pytest.mark.parametrize(
    ("columns", "more", "said"),
    [
        (["content", "foo", "bar"], {}, "foo, bar"),
        (["id"], {}, "--map content=COLUMN"),
        (["content"], {"maps": ["content=body"], "skip": "*"}, "--map content=COLUMN"),
        (["content", "vector"], {}, "--fingerprint"),
    ],
)
def test_the_columns_of_a_file_are_checked_before_anything_is_sent(columns, more, said):
    with pytest.raises(InvalidInput, match=said):
        routes(*more.get("maps", []), skip=more.get("skip", "")).check(columns)


def test_only_the_columns_that_become_something_are_read():
    assert routes("content=body", metadata="a", skip="*").wanted(["a", "b", "body", "id"]) == ("a", "body", "id")


@pytest.mark.parametrize(
    ("maps", "more"),
    [
        (["content"], {}),
        (["content="], {}),
        (["colour=a"], {}),
        (["content=a", "id=a"], {}),
        (["content=a", "content=b"], {}),
        (["content=a"], {"metadata": "a"}),
        ([], {"metadata": "a", "skip": "a"}),
        ([], {"metadata": "*", "skip": "*"}),
    ],
)
def test_flags_that_contradict_each_other_are_refused(maps, more):
    with pytest.raises(ConfigurationError, match="--map"):
        routes(*maps, **more)

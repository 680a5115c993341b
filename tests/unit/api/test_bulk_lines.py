"""Reading bulk bodies: lines and lists, numbers of rejected lines, limits."""

import json
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.bulk import BulkLines, Rejected
from api.bulk import parse_bulk as parse_bulk_of
from api.jsonlist import split_list
from core import limits
from core.errors import InvalidInput, Malformed, TooLarge
from core.vectors import VectorSpace

NDJSON = "application/x-ndjson"
GOOD = {"namespace": "n", "content": "x"}
SPACE = VectorSpace("model:int8:1", 2)


def parse_bulk(given: bytes, content_type: str) -> BulkLines:
    return parse_bulk_of(given, content_type, SPACE)


def body(*items):
    return "\n".join(item if isinstance(item, str) else json.dumps(item) for item in items).encode()


def test_lines_keep_their_order():
    lines = parse_bulk(body(*(GOOD | {"id": str(number)} for number in range(5))), NDJSON)
    assert (lines.namespace, [item.id for item in lines.items]) == ("n", list("01234"))


@pytest.mark.parametrize("content_type", ["", "application/json", "text/plain"])
def test_a_list_is_known_by_its_first_character(content_type):
    assert len(parse_bulk(b" \n" + json.dumps([GOOD, GOOD]).encode(), content_type).items) == 2


def test_windows_line_ends_and_a_missing_last_one_are_fine():
    assert len(parse_bulk(body(GOOD, GOOD).replace(b"\n", b"\r\n"), NDJSON).items) == 2


def test_unicode_line_separators_do_not_part_lines():
    item = json.dumps(GOOD | {"content": "a\u2028b\u0085c"}, ensure_ascii=False)
    assert [each.content for each in parse_bulk(body(item), NDJSON).items] == ["a\u2028b\u0085c"]


def test_rejected_lines_are_numbered_as_an_editor_numbers_them():
    lines = parse_bulk(body("", GOOD, " ", "{", {"namespace": "n"}, GOOD), NDJSON)
    assert [(each.line, each.code) for each in lines.rejected] == [(4, "malformed_json"), (5, "invalid_input")]
    assert len(lines.items) == 2


def test_items_of_a_list_are_numbered_by_place():
    lines = parse_bulk(json.dumps([1, GOOD, None]).encode(), "")
    assert [each.line for each in lines.rejected] == [1, 3]


def test_a_field_called_like_a_source_is_named():
    lines = parse_bulk(body(GOOD, GOOD | {"query": 1}), NDJSON)
    assert lines.rejected[0].detail.startswith("query: ")


def test_the_limit_counts_items_not_blank_lines():
    line = json.dumps(GOOD).encode() + b"\n\n"
    assert len(parse_bulk(line * limits.BULK_ITEMS_MAX, NDJSON).items) == limits.BULK_ITEMS_MAX
    with pytest.raises(TooLarge):
        parse_bulk(line * (limits.BULK_ITEMS_MAX + 1), NDJSON)


def test_rejected_lines_count_too():
    with pytest.raises(TooLarge):
        parse_bulk(body(GOOD) + b"\n{" * limits.BULK_ITEMS_MAX, NDJSON)


@pytest.mark.parametrize("empty", [b"", b"\n\n", b"[]", b"{", b"[1]"])
def test_nothing_valid_is_an_error(empty):
    with pytest.raises(InvalidInput) as caught:
        parse_bulk(empty, "")
    assert caught.value.reason == "nothing_accepted"


def test_several_namespaces_are_an_error():
    with pytest.raises(InvalidInput) as caught:
        parse_bulk(body(GOOD, GOOD | {"namespace": "m"}), NDJSON)
    assert caught.value.field == "namespace"


@pytest.mark.parametrize(
    "broken", ["[", "[1", "[1,", "[1,]", "[,1]", "[1}", "[1] 2", "[1]]", '["a', '["\\', "[[1]", "[}"]
)
def test_what_is_no_list_is_malformed(broken):
    with pytest.raises(Malformed):
        parse_bulk(broken.encode(), "")


def test_an_item_of_a_list_is_judged_by_itself():
    lines = parse_bulk(f"[{json.dumps(GOOD)}, {{x}}, tru, 1 2, {json.dumps(GOOD)}]".encode(), "")
    assert [(each.line, each.code) for each in lines.rejected] == [
        (2, "malformed_json"),
        (3, "malformed_json"),
        (4, "malformed_json"),
    ]
    assert len(lines.items) == 2


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.recursive(
            st.none() | st.floats(allow_nan=False) | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        )
    )
)
def test_a_list_is_parted_as_a_parser_would(items):
    for text in (json.dumps(items), json.dumps(items, indent=1, ensure_ascii=False)):
        body = text.encode("utf-8", "surrogatepass")
        assert [json.loads(item) for item in split_list(body)] == items


def test_faults_without_number_are_told_in_few_words():
    faulty = {f"unknown-{number}-{'x' * 500}": 1 for number in range(1_000)}
    [rejected] = parse_bulk(body(GOOD, GOOD | faulty), NDJSON).rejected
    assert len(rejected.detail) <= 1_000


# Each would take minutes or gigabytes to judge whole.
ENDLESS = {
    "empty lists": b"[" + b"[]," * 2_000_000 + b"1]",
    "one list of lists": b"[[" + b"[]," * 4_000_000 + b"1]]",
    "open lists": b"[" * 10_000_000,
    "blank lines": b"\n" * 10_000_000,
    "faulty lines": b"{\n" * 1_000_000,
    "large faulty lines": (b"[" + b"[]," * 300_000 + b"1]\n") * 12,
}


@pytest.mark.parametrize("hostile", ENDLESS.values(), ids=ENDLESS.keys())
def test_what_costs_more_than_memories_is_refused_early(hostile):
    with pytest.raises(TooLarge):
        parse_bulk(hostile, "")


def test_a_line_that_no_memory_fills_is_not_parsed():
    lines = parse_bulk(body(GOOD, GOOD | {"content": "x" * limits.BODY_BYTES_MAX}), NDJSON)
    assert [(each.line, each.code) for each in lines.rejected] == [(2, "too_large")]


def test_a_line_of_countless_faults_is_told_their_number():
    line = json.dumps(GOOD | {str(number): 1 for number in range(limits.FAULTS_MAX + 1)})
    [rejected] = parse_bulk(body(GOOD, line), NDJSON).rejected
    assert rejected == Rejected(2, "invalid_input", f"body: has {limits.FAULTS_MAX + 1} faults; correct it")


def embedded(fingerprint, vector):
    return GOOD | {"embedding": {"fingerprint": fingerprint, "vector": vector}}


def test_a_vector_of_the_servers_model_comes_with_its_memory():
    [item] = parse_bulk(body(embedded(SPACE.fingerprint, [3, 4])), NDJSON).items
    assert item.embedding.vector == struct.pack("<2f", 0.6, 0.8)


@pytest.mark.parametrize(
    ("line", "code", "named"),
    [
        (embedded("model:fp32:1", [1, 0]), "fingerprint_mismatch", SPACE.fingerprint),
        (embedded(SPACE.fingerprint, [1, 0, 0]), "invalid_vector", "has 3 numbers"),
        (embedded(SPACE.fingerprint, [0, 0]), "invalid_vector", "all zeros"),
        (embedded(SPACE.fingerprint, "not base64"), "invalid_vector", "not base64"),
        (GOOD | {"embedding": {"vector": [1, 0]}}, "invalid_input", "embedding.fingerprint"),
    ],
)
def test_any_other_vector_is_a_fault_of_its_line(line, code, named):
    lines = parse_bulk(body(GOOD, line, GOOD), NDJSON)
    [rejected] = lines.rejected
    assert (rejected.line, rejected.code, len(lines.items)) == (2, code, 2)
    assert named in rejected.detail

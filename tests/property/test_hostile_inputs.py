"""Whatever is sent, a parser takes it or refuses it as the caller's fault: no other error, no unbounded work."""

import json
from contextlib import suppress

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from api.bulk import parse_bulk
from api.schemas import AddMemory, PatchMemory, SearchMemory
from api.scopes import delete_conditions, search_scope
from core.errors import ConfigurationError, InvalidInput
from core.settings import load_settings
from core.vectors import VectorSpace

# What breaks parsers: numbers beyond every type, text that is no Unicode, marks of order, ends of strings.
SCRAPS = [
    "1e999", "-1e999", "9" * 400, "9" * 5_000, "0." + "0" * 400 + "1", "NaN", "Infinity", "-0.0", "1e-400",
    r'"\ud800"', r'"\udfff\ud800"', '"\x00"', r'"\u0000"', '"\ufeff"', '"', '\\"', "'", "[", "]", "{", "}", ",", ":",
    "[" * 300, '{"a":' * 300, "null", "true", '{"":1}', '{"a":1,"a":2}', "\ufeff", "\n", "\r", "\u2028", "//", "/*",
    '"0001-01-01T00:00:00+23:59"', '"9999-12-31T23:59:59.999999999-23:59"', '"2026-02-30T25:61:61Z"', '"1e9"', '"P1D"',
    '"2026-01-31T12:00:00+99:99"', '"-2026-01-31T12:00:00Z"',
]  # fmt: skip
FIELDS = [
    "namespace", "content", "id", "metadata", "session", "tags", "importance", "occurred_at", "ttl_seconds",
    "supersedes", "query", "limit", "mode", "since", "until", "as_of", "filter", "explain", "after_job",
    "wait_ms", "unknown",
]  # fmt: skip
scraps = st.sampled_from(SCRAPS)
values = scraps | st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
).map(json.dumps)
objects = st.dictionaries(st.sampled_from(FIELDS), values, max_size=6).map(
    lambda given: "{" + ",".join(f'"{name}":{value}' for name, value in given.items()) + "}"
)
texts = st.lists(objects | values | scraps | st.text(max_size=5), max_size=6).map("".join) | objects
bodies = texts.map(lambda text: text.encode("utf-8", "surrogatepass")) | st.binary(max_size=200)
operators = st.sampled_from(
    ["and", "or", "not", "eq", "ne", "in", "gt", "gte", "lt", "lte", "exists", "contains", "a", ""]
)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4) | st.just("\ud800")
filters = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(operators, inner, max_size=4), max_leaves=40
)


@given(bodies)
@example(b"[" * 100_000)
@example(b'{"metadata":' * 100_000)
@example(b"\xef\xbb\xbf{}")
@pytest.mark.parametrize("model", [AddMemory, PatchMemory, SearchMemory])
def test_a_body_is_valid_or_refused(model, body):
    with suppress(ValidationError, InvalidInput):
        valid = model.model_validate_json(body)
        valid.model_dump_json()  # what was taken can be stored and shown
        if isinstance(valid, SearchMemory):
            search_scope(valid)


@given(st.lists(bodies, max_size=5), st.sampled_from(["", "application/x-ndjson"]), st.booleans())
def test_a_bulk_body_is_parsed_or_refused(parts, content_type, listed):
    body = b"[" + b",".join(parts) + b"]" if listed else b"\n".join(parts)
    with suppress(InvalidInput):
        lines = parse_bulk(body, content_type, VectorSpace("model", 2))
        assert lines.items
        assert all(len(each.detail) <= 1_000 for each in lines.rejected)


@given(filters)
def test_a_filter_is_understood_or_refused(given_filter):
    with suppress(InvalidInput, ValidationError):
        search_scope(SearchMemory(namespace="n", query="q", filter=given_filter))


@given(texts)
@example("[" * 5_000)
def test_a_deletions_filter_is_understood_or_refused(text):
    with suppress(InvalidInput):
        delete_conditions(None, [], text)


@settings(max_examples=50)
@given(
    bodies
    | st.sampled_from(["[server]", "[storage]", "[auth]"]).flatmap(
        lambda section: st.lists(scraps | st.sampled_from(["port = ", "host = ", "path = ", "trusted_proxies = "])).map(
            lambda parts: (section + "\n" + "".join(parts)).encode("utf-8", "surrogatepass")
        )
    )
)
def test_a_settings_file_is_read_or_refused(tmp_path_factory, text):
    file = tmp_path_factory.mktemp("settings", numbered=True) / "ostraka.toml"
    file.write_bytes(text)
    with suppress(ConfigurationError):
        load_settings(file)

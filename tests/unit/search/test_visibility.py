"""Visibility against a plain reading of the rows: a real built shard, a dict for the overlay."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.records.overlay import Masked
from core.search.filters import parse_filter
from core.search.request import Scope
from core.search.visibility import matches, visible
from core.shards.attributes import AttributeRow, Attributes
from core.shards.builder import GraphSettings, ShardRow, build_shard
from core.shards.reader import OpenShard

NOW = 1_000
DELETED = Masked(deleted=True, closed_at=None, forward=False)
ROWS = [
    AttributeRow(10, 100, None, None, None, "s", ["a", "b"], None, {"n": 1}),
    AttributeRow(20, 200, 50, 900, None, "s", ["a"], None, {"n": 2}),
    AttributeRow(30, 300, None, 1_001, None, None, [], None, {}),
    AttributeRow(40, 400, 990, None, 450, "t", ["b"], None, {"n": 3}),
    AttributeRow(50, 500, None, None, None, "t", ["a", "b"], None, {"n": [2, 4]}),
]
PLAIN = [AttributeRow(id_, 100, None, None, None, None, [], None, {}) for id_ in (1, 2, 3)]


def build(folder: Path, rows: list[AttributeRow]) -> OpenShard:
    folder.mkdir()
    vector = np.full((1, 4), 0.5, np.float32)
    made = [ShardRow(row, 0, f"text {row.id}", vector) for row in rows]
    build_shard(folder, made, "model", GraphSettings(m=8, ef_construction=16, threads=1))
    return OpenShard("sh_a", folder, "model")


@pytest.fixture(scope="module")
def shards(tmp_path_factory) -> Iterator[dict[str, OpenShard]]:
    folder = tmp_path_factory.mktemp("shards")
    return {"mixed": build(folder / "mixed", ROWS), "plain": build(folder / "plain", PLAIN)}


def seen(shard: OpenShard, overlay: dict[int, Masked] | None = None, scope: Scope | None = None) -> list[int]:
    mask = visible(shard, overlay or {}, scope or Scope(), NOW)
    return shard.ids.tolist() if mask is None else shard.ids[mask].tolist()


def test_the_common_case_is_free(shards):
    assert visible(shards["plain"], {}, Scope(), NOW) is None
    assert visible(shards["plain"], {99: DELETED}, Scope(), NOW) is None


def test_the_expired_and_the_closed_are_not_seen(shards):
    assert seen(shards["mixed"]) == [10, 30, 50]


@pytest.mark.parametrize(
    ("masked", "now", "as_of"),
    [
        (DELETED, False, False),
        (Masked(deleted=True, closed_at=150, forward=False), False, False),
        (Masked(deleted=False, closed_at=150, forward=False), False, False),
        (Masked(deleted=False, closed_at=600, forward=False), False, True),
        (Masked(deleted=False, closed_at=600, forward=True), True, True),
        (Masked(deleted=False, closed_at=150, forward=True), True, False),
    ],
    ids=["deleted", "deleted, closed", "closed", "closed later", "closed later, successor under way", "under way"],
)
def test_a_masked_row(shards, masked, now, as_of):
    assert (10 in seen(shards["mixed"], {10: masked})) == now
    assert (10 in seen(shards["mixed"], {10: masked}, Scope(as_of=550))) == as_of


def test_a_row_closed_when_its_shard_was_built_stood_before(shards):
    assert 40 in seen(shards["mixed"], scope=Scope(as_of=449))
    assert 40 not in seen(shards["mixed"], scope=Scope(as_of=450))
    assert 40 not in seen(shards["mixed"], scope=Scope(as_of=399))


def test_a_deleted_row_is_not_seen_in_the_past_either(shards):
    assert 40 not in seen(shards["mixed"], {40: DELETED}, Scope(as_of=449))


@pytest.mark.parametrize(
    ("scope", "rows"),
    [
        (Scope(since=300), [30, 40, 50]),
        (Scope(until=300), [10, 20]),
        (Scope(since=50, until=51), [20]),
        (Scope(session="s"), [10, 20]),
        (Scope(session="S"), []),
        (Scope(session=""), []),
        (Scope(tags=["a"]), [10, 20, 50]),
        (Scope(tags=["b", "a"]), [10, 50]),
        (Scope(tags=["c"]), []),
        (Scope(as_of=300), [10, 20, 30]),
        (Scope(filter=parse_filter({"n": {"gt": 1}})), [20, 40, 50]),
        (Scope(filter=parse_filter({"n": {"gt": 1}}), session="t", tags=["a"], since=1), [50]),
        (Scope(), [10, 20, 30, 40, 50]),
    ],
)
def test_what_a_scope_allows(scope, rows):
    mask = matches(Attributes.of(ROWS), scope)
    assert [row.id for row, allowed in zip(ROWS, mask, strict=True) if allowed] == rows


def test_an_empty_shard_part_is_no_error():
    assert matches(Attributes.of([]), Scope(session="s", tags=["a"], since=1)).tolist() == []


moments = st.none() | st.integers(0, 1_100)
masks = st.builds(Masked, deleted=st.booleans(), closed_at=moments, forward=st.booleans())
scopes = st.builds(
    Scope,
    filter=st.sampled_from([None, parse_filter({"n": {"gte": 2}}), parse_filter({"not": {"n": 1}})]),
    session=st.sampled_from([None, "s", "t", "u"]),
    tags=st.lists(st.sampled_from(["a", "b", "c"]), max_size=2),
    since=moments,
    until=moments,
    as_of=moments,
)


def expected(row: AttributeRow, masked: Masked | None, scope: Scope) -> bool:
    if masked and masked.deleted:
        return False
    if row.expires_at is not None and row.expires_at <= NOW:
        return False
    closed_at = masked.closed_at if masked else row.closed_at
    standing = closed_at is None or (scope.as_of is not None and closed_at > scope.as_of)
    if not standing and not (masked and masked.forward and scope.as_of is None):
        return False
    return bool(matches(Attributes.of([row]), scope)[0])


@given(st.dictionaries(st.sampled_from([10, 20, 30, 40, 50, 60]), masks), scopes)
def test_a_row_is_seen_exactly_when_it_should_be(shards, overlay, scope):
    assert seen(shards["mixed"], overlay, scope) == [
        row.id for row in ROWS if expected(row, overlay.get(row.id), scope)
    ]

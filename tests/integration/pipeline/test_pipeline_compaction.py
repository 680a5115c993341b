"""Shards become fewer and larger; the answers stay the same; what was deleted leaves the files."""

import pytest

from core import limits
from core.pipeline.maintenance import READER_GRACE_S
from core.records.tables import Lane, memories
from core.settings import Storage
from tests.stores import LONG_ON_POSTGRES

RECORD_STORES = LONG_ON_POSTGRES

PURGE_S = Storage().purge_s
WORDS = ["amber", "basalt", "cobalt", "dolomite", "emerald", "flint", "garnet", "halite"]


def stone(number: int) -> dict[str, object]:
    content = f"Sample {number}: {WORDS[number % 8]} from site {number // 8}, marker-{number}."
    return {"id": f"s{number}", "content": content, "metadata": {"number": number}}


@pytest.fixture
def layered(server, small_tiers):
    """A namespace of several sealed shards and a tail: 3 x 8 rows, one of 32 and one of 3."""
    for start in (0, 8, 16):
        server.write(*map(stone, range(start, start + 8)))
        server.settle()
    server.write(*map(stone, range(24, 56)), lane=Lane.BULK)
    server.settle()
    server.write(*map(stone, range(56, 59)))
    server.settle()
    assert sorted(shard.rows for shard in server.shards()) == [3, 8, 8, 8, 32]
    return server


def everything(server) -> dict[str, list[tuple[str, float]]]:
    queries = ["emerald from site 3", "marker-17", "sample of flint", "site 6"]
    return {
        f"{mode} {query}": [(hit.memory.id, round(hit.score, 4)) for hit in server.search(query, mode=mode, limit=20)]
        for mode in ("hybrid", "vector", "text")
        for query in queries
    }


def test_a_full_tier_is_merged_and_answers_stay_the_same(layered):
    before = everything(layered)

    layered.maintain()

    assert sorted(shard.rows for shard in layered.shards()) == [3, 24, 32]
    assert everything(layered) == before
    layered.check()


@pytest.mark.usefixtures("small_tiers")
def test_tiers_cascade(server):
    for start in range(0, 72, 8):
        server.write(*map(stone, range(start, start + 8)))
        server.settle()
        server.maintain()
        server.check()

    assert [(shard.tier, shard.rows) for shard in server.shards()] == [(3, 72)]
    assert server.ids("marker-70", mode="text") == ["s70"]
    assert server.ids("marker-1", mode="text") == ["s1"]


@pytest.mark.usefixtures("small_tiers")
@pytest.mark.parametrize(("rows_max", "left"), [(15, [8, 8, 8, 8]), (20, [8, 8, 16])])
def test_no_shard_grows_beyond_the_largest_allowed(server, monkeypatch, rows_max, left):
    monkeypatch.setattr(limits, "SHARD_ROWS_MAX", rows_max)
    for start in range(0, 32, 8):
        server.write(*map(stone, range(start, start + 8)))
        server.settle()
    server.maintain()

    assert [shard.rows for shard in server.shards()] == left
    server.check()


def test_graphs_answer_like_scans(layered):
    before = everything(layered)
    graphs = layered.small_graphs(rows_min=16)

    graphs.compact()

    merged = [shard for shard in layered.opened() if shard.manifest.graph]
    assert [shard.rows for shard in merged] == [24]
    assert everything(layered) == before
    layered.delete("s17")
    assert "s17" not in layered.ids("marker-17 amber from site 2", mode="vector", limit=50)
    layered.check()


@pytest.mark.usefixtures("small_tiers")
def test_a_graph_built_by_a_backlog_is_searched(server):
    graphs = server.small_graphs(rows_min=16)
    server.write(*map(stone, range(32)), lane=Lane.BULK)
    server.embed()
    graphs.drain()

    [shard] = server.opened()
    assert shard.manifest.graph
    for number in range(32):
        [hit] = server.search(str(stone(number)["content"]), mode="vector", limit=1)
        assert hit.memory.id == f"s{number}"


def test_a_shard_with_many_masked_rows_is_rewritten(layered):
    for number in range(24, 32):
        layered.delete(f"s{number}")

    layered.maintain()

    assert 24 in [shard.rows for shard in layered.shards()]
    assert set(layered.row_ids("s24")).isdisjoint(layered.held())
    assert not any(row.overlay for row in deleted_rows(layered))
    layered.check()


def test_a_single_deleted_row_leaves_the_shards_within_the_deadline(layered):
    layered.maintain()
    [gone] = layered.row_ids("s30")
    layered.delete("s30")
    layered.maintain()
    assert gone in layered.held()  # not worth a rewrite yet

    layered.clock.advance(PURGE_S)
    layered.maintain()

    assert gone not in layered.held()
    assert not any(row.overlay for row in deleted_rows(layered))
    layered.check()


def test_the_tail_is_purged_too(server):
    server.write(*map(stone, range(10)))
    server.settle()
    [gone] = server.row_ids("s3")
    server.delete("s3")
    server.clock.advance(PURGE_S)

    server.maintain()

    assert gone not in server.held()
    assert [shard.rows for shard in server.shards()] == [9]


def test_a_namespace_whose_memories_were_all_deleted_has_no_shards(layered):
    for number in range(59):
        layered.delete(f"s{number}")

    layered.maintain()

    assert layered.shards() == []
    assert layered.search("marker-3") == []
    layered.write(stone(3))
    layered.settle()
    assert layered.ids("marker-3") == ["s3"]


@pytest.mark.timeout(60)
def test_maintenance_ends_while_an_update_waits_to_be_embedded(server):
    server.write(stone(1))
    server.settle()
    server.write({**stone(1), "content": "rewritten"})

    server.maintain()  # the old row must stay masked until its successor is indexed; rewriting cannot change that
    server.clock.advance(PURGE_S)
    server.maintain()

    assert server.contents("marker-1") == ["rewritten"]
    server.settle()
    server.maintain()
    assert server.contents("rewritten", mode="text") == ["rewritten"]
    assert server.search("marker-1", mode="text") == []
    server.check()


def test_closed_rows_leave_the_overlay_with_the_next_rewrite(server):
    for content in ("one", "two", "three"):
        server.write({"id": "x", "content": content})
        server.settle()

    assert not any(row.overlay for row in all_rows(server))
    assert server.contents("one two three", mode="vector") == ["three"]


def test_blobs_of_retired_shards_go_when_no_reader_can_need_them(layered):
    layered.maintain()
    live = {shard.public_id for shard in layered.shards()}
    assert len(list(layered.blobs.names())) > len(live)

    layered.clock.advance(READER_GRACE_S)
    layered.maintain()

    assert {name.rpartition("/")[2].removesuffix(".shard") for name in layered.blobs.names()} == live
    assert layered.ids("marker-17", mode="text") == ["s17"]


def test_a_deleted_namespaces_blobs_go(layered):
    layered.records.delete_namespace("notes")
    layered.clock.advance(READER_GRACE_S)

    layered.maintain()

    assert list(layered.blobs.names()) == []


def all_rows(server):
    with server.records.database.read() as connection:
        return list(connection.execute(memories.select()))


def deleted_rows(server):
    return [row for row in all_rows(server) if row.state == "deleted"]

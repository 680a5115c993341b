from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.limits import BULK_SHARD_ROWS, FLAT_ROWS_MAX, SHARD_ROWS_MAX, TAIL_ROWS_MAX, TIER_FACTOR
from core.pipeline.plans import BULK_WAIT_S, OVERLAY_SHARE_MAX, Flush, plan_compaction, plan_flush, tier_of
from core.records.shardlist import ShardRecord
from core.records.waiting import Waiting

SOON_S = BULK_WAIT_S - 0.001


def waiting(interactive: int = 0, bulk: int = 0, *, coming: bool = False, first: int | None = None) -> Waiting:
    return Waiting(1, interactive, bulk, coming, bulk if first is None else first)


def shard(number: int, rows: int, tier: int | None = None) -> ShardRecord:
    return ShardRecord(
        number, f"sh_{number}", tier_of(rows) if tier is None else tier, rows, rows * 2_000, 1, "model", 0
    )


# --- flushes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given_waiting", "waited_s", "plan"),
    [
        (waiting(), 0, []),
        (waiting(interactive=1), 0, [Flush.TAIL]),
        (waiting(interactive=1, bulk=5, coming=True), 0, [Flush.TAIL]),
        (waiting(bulk=5, coming=True), 0, []),
        (waiting(bulk=5), 0, [Flush.ALL]),
        (waiting(bulk=5, coming=True), BULK_WAIT_S, [Flush.ALL]),
        (waiting(bulk=5, coming=True), SOON_S, []),
        (waiting(interactive=1, bulk=5), 0, [Flush.ALL]),
        (waiting(bulk=TAIL_ROWS_MAX - 1), 0, [Flush.ALL]),
        (waiting(bulk=TAIL_ROWS_MAX), 0, [Flush.SHARD]),
        (waiting(bulk=BULK_SHARD_ROWS - 1, coming=True), SOON_S, []),
        (waiting(bulk=BULK_SHARD_ROWS, coming=True), 0, [Flush.SHARD]),
        (waiting(interactive=1, bulk=BULK_SHARD_ROWS, coming=True), 0, [Flush.TAIL, Flush.SHARD]),
        (waiting(interactive=1, bulk=TAIL_ROWS_MAX), 0, [Flush.TAIL, Flush.SHARD]),
        (waiting(bulk=BULK_SHARD_ROWS, first=3, coming=True), SOON_S, [Flush.SHARD]),
        (waiting(bulk=BULK_SHARD_ROWS, first=3, coming=True), BULK_WAIT_S, [Flush.ALL]),
        (waiting(bulk=BULK_SHARD_ROWS, first=TAIL_ROWS_MAX, coming=True), BULK_WAIT_S, [Flush.SHARD]),
    ],
)
def test_when_rows_are_flushed_and_how(given_waiting, waited_s, plan):
    assert plan_flush(given_waiting, waited_s) == plan


counts = st.integers(0, 3) | st.integers(0, 20_000)


@given(counts, counts, st.floats(0, 20), st.booleans())
def test_nothing_waits_for_ever(interactive, bulk, waited_s, coming):
    plans = plan_flush(waiting(interactive, bulk, coming=coming), waited_s)
    if interactive:
        assert plans[0] in {Flush.TAIL, Flush.ALL}
    if bulk and (not coming or waited_s >= BULK_WAIT_S):
        assert plans[-1] in {Flush.ALL, Flush.SHARD}
    if not interactive and not bulk:
        assert plans == []


@given(counts, counts, st.floats(0, 20), st.booleans())
def test_a_tail_stays_small(interactive, bulk, waited_s, coming):
    if Flush.ALL in plan_flush(waiting(interactive, bulk, coming=coming), waited_s):
        assert bulk < TAIL_ROWS_MAX


# --- tiers --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "tier"),
    [
        (1, 0),
        (TAIL_ROWS_MAX - 1, 0),
        (TAIL_ROWS_MAX, 1),
        (TAIL_ROWS_MAX * TIER_FACTOR - 1, 1),
        (TAIL_ROWS_MAX * TIER_FACTOR, 2),
        (TAIL_ROWS_MAX * TIER_FACTOR**2 - 1, 2),
        (TAIL_ROWS_MAX * TIER_FACTOR**2, 3),
        (TAIL_ROWS_MAX * TIER_FACTOR**3, 4),
    ],
)
def test_each_tier_is_a_factor_larger(rows, tier):
    assert tier_of(rows) == tier


# --- compactions --------------------------------------------------------------------------------------


def chosen(
    shards: list[ShardRecord], masked: dict[int, int] | None = None, *, overdue: bool = False, quiet: bool = False
) -> list[int]:
    plan = plan_compaction(shards, masked or {}, overdue=overdue, quiet=quiet)
    return [each.id for each in plan.shards] if plan else []


def test_nothing_to_do():
    assert chosen([]) == []
    assert chosen([shard(1, 10)]) == []
    assert chosen([shard(number, 5_000) for number in range(TIER_FACTOR - 1)], quiet=True) == []
    assert chosen([shard(number, 40_000) for number in range(TIER_FACTOR - 1)]) == []


@pytest.mark.parametrize(
    ("rows", "quiet", "full"),
    [
        (5_000, True, TIER_FACTOR),
        (40_000, True, TIER_FACTOR),
        (40_000, False, TIER_FACTOR),
        (FLAT_ROWS_MAX + 1, False, TIER_FACTOR),
        (FLAT_ROWS_MAX, False, 2 * TIER_FACTOR),  # each merge builds a graph: fewer of them while rows arrive
        (5_000, False, 2 * TIER_FACTOR),
    ],
)
def test_a_full_tier_is_merged(rows, quiet, full):
    shards = [shard(number, rows) for number in range(full)]
    assert chosen(shards[1:], quiet=quiet) == []
    assert chosen(shards, quiet=quiet) == list(range(full))


def test_only_the_full_tier_is_merged():
    small = [shard(number, 3_000) for number in range(TIER_FACTOR)]
    assert chosen([shard(90, 200_000), *small, shard(91, 30_000)], quiet=True) == list(range(TIER_FACTOR))


def test_the_lower_tier_goes_first():
    large = [shard(number, 40_000) for number in range(TIER_FACTOR)]
    small = [shard(50 + number, 2_048) for number in range(TIER_FACTOR)]
    assert chosen(large + small, quiet=True) == [50 + number for number in range(TIER_FACTOR)]


def test_the_tail_is_left_to_flushes():
    assert chosen([shard(number, 2_000, tier=0) for number in range(20)]) == []


@pytest.mark.parametrize(
    ("masked", "overdue", "expected"),
    [
        ({1: 200}, False, []),
        ({1: 201}, False, [1]),
        ({1: 1}, True, [1]),
        ({1: 0}, True, []),
        ({7: 5}, True, []),
        ({1: 1, 2: 900}, False, [2]),
        ({1: 900, 2: 900}, False, [1]),
    ],
)
def test_masked_rows_are_purged_when_many_or_overdue(masked, overdue, expected):
    assert OVERLAY_SHARE_MAX == 0.2
    assert chosen([shard(1, 1_000), shard(2, 1_000)], masked, overdue=overdue) == expected


shard_lists = st.lists(st.integers(1, 4_000) | st.integers(1, SHARD_ROWS_MAX), max_size=40).map(
    lambda sizes: [shard(number, rows) for number, rows in enumerate(sizes)]
)


@given(shard_lists)
def test_a_merge_is_of_one_tier_and_fits_a_shard(shards):
    plan = plan_compaction(shards, {})
    if plan is None:
        return
    assert len({tier_of(each.rows) for each in plan.shards}) == 1
    assert len({each.id for each in plan.shards}) == len(plan.shards) > 1
    rows = sum(each.rows for each in plan.shards)
    assert len(plan.shards) >= TIER_FACTOR or 2 * rows >= SHARD_ROWS_MAX
    assert sum(each.rows for each in plan.shards) <= SHARD_ROWS_MAX
    assert all(each.tier for each in plan.shards)


@given(shard_lists, st.dictionaries(st.integers(0, 39), st.integers(0, 500)), st.booleans(), st.booleans())
def test_compaction_comes_to_an_end(shards, masked, overdue, quiet):
    """Each step leaves fewer shards or fewer masked rows, so a plan is not made for ever."""
    fresh = 1_000
    for _ in range(200):
        plan = plan_compaction(shards, masked, overdue=overdue, quiet=quiet)
        if plan is None:
            return
        gone = {each.id for each in plan.shards}
        rows = sum(each.rows - min(each.rows, masked.get(each.id, 0)) for each in plan.shards)
        masked = {number: count for number, count in masked.items() if number not in gone}
        shards = [each for each in shards if each.id not in gone] + ([shard(fresh, rows)] if rows else [])
        fresh += 1
    raise AssertionError("still compacting")


@pytest.mark.parametrize("quiet", [False, True])
def test_a_growing_namespace_is_written_logarithmically_often(quiet):
    """Backfilled shards of one size: each row is rewritten at most once for each tier above its first."""
    shards: list[ShardRecord] = []
    written = 0
    for number in range(256):
        shards.append(shard(number, TAIL_ROWS_MAX))
        while plan := plan_compaction(shards, {}, quiet=quiet):
            gone = {each.id for each in plan.shards}
            rows = sum(each.rows for each in plan.shards)
            written += rows
            shards = [each for each in shards if each.id not in gone] + [shard(10_000 + len(gone) + number, rows)]
    assert written <= 4 * 256 * TAIL_ROWS_MAX
    assert len(shards) <= 4 * TIER_FACTOR


def test_a_tier_that_reaches_the_largest_shard_is_merged_before_it_is_full():
    peers = [shard(number, rows=60_000) for number in range(1, 6)]
    plan = plan_compaction(peers, {})
    assert plan is not None
    assert [each.id for each in plan.shards] == [1, 2, 3, 4]


def test_the_largest_shards_are_left_alone():
    assert plan_compaction([shard(number, rows=200_000) for number in range(1, 30)], {}) is None


def test_a_shard_in_quarantine_is_rewritten_first_and_alone():
    peers = [shard(number, rows=4_000) for number in range(1, 6)]
    lost = replace(shard(9, rows=10), quarantined_at=1)
    plan = plan_compaction([*peers, lost], {1: 4_000}, overdue=True)
    assert plan is not None
    assert plan.shards == [lost]


def test_scanned_shards_become_a_graph_when_it_is_quiet():
    scanned = [shard(1, BULK_SHARD_ROWS), shard(2, BULK_SHARD_ROWS), shard(3, FLAT_ROWS_MAX + 1 - 2 * BULK_SHARD_ROWS)]
    scanned += [shard(5, 100), shard(6, 40_000)]
    assert plan_compaction(scanned, {}) is None
    plan = plan_compaction(scanned, {}, quiet=True)
    assert plan is not None
    assert [each.id for each in plan.shards] == [1, 2, 3]


def test_scanned_shards_too_small_for_a_graph_are_left_alone():
    scanned = [shard(1, BULK_SHARD_ROWS), shard(2, FLAT_ROWS_MAX - BULK_SHARD_ROWS)]
    assert plan_compaction(scanned, {}, quiet=True) is None

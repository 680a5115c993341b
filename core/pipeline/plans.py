"""What to flush and what to compact: pure decisions from counts."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from core import limits
from core.records.shardlist import ShardRecord
from core.records.waiting import Waiting

BULK_WAIT_S = 30.0  # embedded bulk rows wait for company this long at most, while more are on their way
OVERLAY_SHARE_MAX = 0.2  # masked rows of a shard beyond which rewriting it pays


class Flush(Enum):
    """The three ways embedded rows become searchable."""

    TAIL = "tail"  # rewrite the tail with the waiting interactive rows
    ALL = "all"  # … with every waiting row
    SHARD = "shard"  # build bulk rows into a shard of their own, the tail untouched


def plan_flush(waiting: Waiting, bulk_waited_s: float) -> list[Flush]:
    """Decide how to flush a namespace: the flushes to do, in order; none is to wait.

    ``bulk_waited_s``: how long embedded bulk rows have been waiting for a flush.

    Interactive rows never wait, and go first. Bulk rows wait, while more are on their way, until they fill a shard
    worth building: rewriting the tail for each of their batches would cost more than embedding them.
    """
    plans = [Flush.TAIL] if waiting.interactive else []
    due = waiting.bulk and (bulk_waited_s >= BULK_WAIT_S or not waiting.bulk_coming)
    if due and waiting.bulk_first < limits.TAIL_ROWS_MAX:  # those that claims left behind, even if others fill a shard
        return [Flush.ALL]
    return [*plans, Flush.SHARD] if due or waiting.bulk >= limits.BULK_SHARD_ROWS else plans


def tier_of(rows: int) -> int:
    """Return the size tier of a shard: 0 below ``TAIL_ROWS_MAX``, then one more for each factor."""
    if rows < limits.TAIL_ROWS_MAX:
        return 0
    return 1 + int(math.log(rows / limits.TAIL_ROWS_MAX, limits.TIER_FACTOR))


@dataclass(frozen=True)
class Compaction:
    """Shards to be rewritten as one."""

    shards: Sequence[ShardRecord]


def plan_compaction(
    shards: Sequence[ShardRecord],
    masked: Mapping[int, int],
    *,
    key_version: int = 1,
    overdue: bool = False,
    quiet: bool = False,
) -> Compaction | None:
    """Decide which shards to merge or rewrite next, or none.

    ``masked`` counts, by shard id, the rows that searches must mask. A shard in quarantine is rewritten first, alone.
    A full tier, or as much of it as the largest shard may hold, is merged (size-tiered compaction, O'Neil et al., "The
    Log-Structured Merge-Tree", 1996), shards without a graph only once there are twice as many, while more are on their
    way: the graph is what takes time. A shard with many masked rows, or any at all once the purge deadline is
    ``overdue``, is rewritten alone, and so is one that another version of the key sealed than ``key_version``, the
    newest. The tail is left to flushes unless it is one of these. Once it is ``quiet``,
    no bulk rows being on their way, shards that are scanned become one as soon as they are together large enough for
    a graph.
    """
    if lost := next((shard for shard in shards if shard.quarantined_at is not None), None):
        return Compaction([lost])
    purge = [
        shard
        for shard in shards
        if (count := masked.get(shard.id, 0)) and (overdue or count > OVERLAY_SHARE_MAX * shard.rows)
    ]
    if purge:
        return Compaction([purge[0]])
    if aged := next((shard for shard in shards if shard.key_version != key_version), None):
        return Compaction([aged])
    small = [shard for shard in shards if shard.tier and 2 * shard.rows <= limits.SHARD_ROWS_MAX]
    for tier in sorted({tier_of(shard.rows) for shard in small}):
        merged: list[ShardRecord] = []
        full = False
        for shard in (peer for peer in small if tier_of(peer.rows) == tier):
            if sum(each.rows for each in merged) + shard.rows <= limits.SHARD_ROWS_MAX:
                merged.append(shard)
            else:
                full = True
        worth_it = full and 2 * sum(each.rows for each in merged) >= limits.SHARD_ROWS_MAX
        scanned = all(shard.rows <= limits.FLAT_ROWS_MAX for shard in merged)
        enough = 2 * limits.TIER_FACTOR if scanned and not quiet else limits.TIER_FACTOR
        if len(merged) > 1 and (worth_it or len(merged) >= enough):
            return Compaction(merged)
    flat = [shard for shard in small if shard.rows <= limits.FLAT_ROWS_MAX]
    rows = sum(shard.rows for shard in flat)
    if quiet and len(flat) > 1 and limits.FLAT_ROWS_MAX < rows <= limits.SHARD_ROWS_MAX:
        return Compaction(flat)
    return None

"""What to flush and what to compact: pure decisions from counts."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from core import limits
from core.records.shardlist import ShardRecord, Waiting

BULK_WAIT_S = 10.0  # a bulk row waits for company this long at most, while more are on their way
OVERLAY_SHARE_MAX = 0.2  # masked rows of a shard beyond which rewriting it pays


class Flush(Enum):
    """The three ways embedded rows become searchable."""

    TAIL = "tail"  # rewrite the tail with the waiting interactive rows
    ALL = "all"  # … with every waiting row
    SHARD = "shard"  # build bulk rows into a shard of their own, the tail untouched


def plan_flush(waiting: Waiting, now: int) -> Flush | None:
    """Decide how to flush a namespace, or to wait.

    Interactive rows never wait. Bulk rows wait, while more are on their way, until they fill a shard worth
    building: rewriting the tail for each of their batches would cost more than embedding them.
    """
    if waiting.bulk >= limits.BULK_SHARD_ROWS:
        return Flush.SHARD
    aged = waiting.oldest_bulk_at is not None and now - waiting.oldest_bulk_at >= BULK_WAIT_S * 1e6
    if waiting.bulk and (aged or not waiting.bulk_coming):
        return Flush.SHARD if waiting.bulk >= limits.TAIL_ROWS_MAX else Flush.ALL
    return Flush.TAIL if waiting.interactive else None


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
    shards: Sequence[ShardRecord], masked: Mapping[int, int], *, overdue: bool = False
) -> Compaction | None:
    """Decide which shards to merge or rewrite next, or none.

    ``masked`` counts, by shard id, the rows that searches must mask. A full tier is merged (size-tiered
    compaction, O'Neil et al., "The Log-Structured Merge-Tree", 1996); a shard with many masked rows, or any at all
    once the purge deadline is ``overdue``, is rewritten alone. The tail is left to flushes unless purging.
    """
    purge = [
        shard
        for shard in shards
        if (count := masked.get(shard.id, 0)) and (overdue or count > OVERLAY_SHARE_MAX * shard.rows)
    ]
    if purge:
        return Compaction([purge[0]])
    for tier in sorted({tier_of(shard.rows) for shard in shards if shard.tier}):
        peers = [shard for shard in shards if shard.tier and tier_of(shard.rows) == tier]
        merged, rows = [], 0
        for shard in peers:
            if rows + shard.rows <= limits.SHARD_ROWS_MAX:
                merged.append(shard)
                rows += shard.rows
        if len(merged) >= limits.TIER_FACTOR:
            return Compaction(merged)
    return None

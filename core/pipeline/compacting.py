"""Compactions: shards are merged, or rewritten without the rows that searches must mask."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import structlog

from core.pipeline.building import ShardBuilder, absorbed
from core.pipeline.plans import Compaction, plan_compaction
from core.pipeline.publishing import Publisher
from core.records.company import CompanyRecords, Namespace
from core.records.leases import drop_lease, hold_lease, take_lease
from core.records.members import members_among, members_of
from core.records.overlay import Masked, masked_rows, purge_overdue
from core.records.ranges import claimed_ranges, end_lost_claims
from core.records.shardlist import (
    ShardRecord,
    clear_overlay,
    commit_compaction,
    live_shards,
    namespace_state,
)
from core.records.waiting import has_bulk

log = structlog.get_logger()

_LEASE_S: Final = 60.0


class Compactor:
    """Compacts the namespaces of one company."""

    def __init__(
        self,
        records: CompanyRecords,
        builder: ShardBuilder,
        publisher: Publisher,
        stopping: Callable[[], bool],
        *,
        flush_lease_s: float,
    ) -> None:
        """Build it; ``stopping()`` ends a compaction after the shard at hand."""
        self._records = records
        self._builder = builder
        self._publisher = publisher
        self._stopping = stopping
        self._flush_lease_s = flush_lease_s

    def compact(self, namespace_id: int) -> bool:
        """Compact a namespace as far as the policy asks; return whether it was changed. Raises ``StaleGeneration``."""
        namespace = self._records.namespace_by_id(namespace_id)
        if self._next_compaction(namespace) is None:
            return False
        changed = False
        while not self._stopping():
            with hold_lease(self._records.database, f"compact-{namespace_id}", self._records.clock, _LEASE_S) as held:
                plan = self._next_compaction(namespace) if held else None
                if plan is None:
                    break
                self._rewrite(namespace, plan.shards)
                changed = True
        return changed

    def _next_compaction(self, namespace: Namespace) -> Compaction | None:
        with self._records.database.read() as connection:
            state = namespace_state(connection, namespace.id)
            shards = live_shards(connection, namespace.id)
            overlay = masked_rows(connection, namespace.id)
            overdue = purge_overdue(connection, namespace.id, self._records.clock(), self._records.purge_us)
            # A row that searches pass on to its successor stays masked however often it is rewritten.
            settled = {row: masked for row, masked in overlay.items() if not masked.forward}
            lost = any(shard.quarantined_at is not None for shard in shards)
            aged = state is not None and any(shard.key_version != state.key_version for shard in shards)
            if state is None or (len(shards) < 2 and not settled and not lost and not aged):
                return None
            namespace.key.at_least(state.key_version)
            held = members_among(connection, [shard.id for shard in shards], settled)
            quiet = not has_bulk(connection, namespace.id)
        masked = {shard: len(rows) for shard, rows in held.items()}
        plan = plan_compaction(shards, masked, key_version=state.key_version, overdue=overdue, quiet=quiet)
        if plan is None:
            absent = settled.keys() - set().union(*held.values())
            self._forget_absent(namespace, state.generation, {row: settled[row] for row in absent})
        return plan

    def _rewrite(self, namespace: Namespace, replaced: Sequence[ShardRecord]) -> None:
        with self._records.database.read() as connection:
            rows = members_of(connection, [shard.id for shard in replaced])
        built = self._builder.build(namespace, rows)
        now = self._records.clock()
        with self._publisher.committing(namespace, built) as connection:
            commit_compaction(
                connection, namespace.id, added=built.shard, replaced=replaced, absorbed=built.absorbed, now=now
            )
            self._publisher.fail(connection, namespace, built, now)
        for shard in replaced:
            if shard.quarantined_at is not None:
                log.info("shard_rebuilt", namespace=namespace.public_id, shard=shard.public_id)

    def _forget_absent(self, namespace: Namespace, generation: int, absent: Mapping[int, Masked]) -> None:
        """Clear the mark of masked rows that no shard of ``generation`` holds, nor any flush since or under way.

        A flush that was paused past its lease, and has such a row in hand, loses the lease here, and with it its work.
        """
        if not absent:
            return
        lease, now = f"flush-{namespace.id}", self._records.clock()
        with self._records.database.write() as connection:
            token = take_lease(connection, lease, now=now, lease_us=int(self._flush_lease_s * 1e6))
            if token:
                state = namespace_state(connection, namespace.id)
                if state and state.generation == generation:
                    end_lost_claims(connection, namespace.id, now)
                    claimed = claimed_ranges(connection, namespace.id, now)
                    clear_overlay(
                        connection,
                        absorbed(
                            (row, masked.deleted)
                            for row, masked in absent.items()
                            if not any(each.first <= row <= each.last for each in claimed)
                        ),
                    )
                drop_lease(connection, lease, token)

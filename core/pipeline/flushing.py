"""Flushes: embedded rows become searchable, in a shard of their own or in the tail, which is written anew."""

from collections.abc import Sequence
from contextlib import AbstractContextManager

import structlog

from core import limits
from core.observing.observer import Observer
from core.pipeline.building import UNINDEXABLE, ShardBuilder
from core.pipeline.plans import Flush
from core.pipeline.publishing import Publisher
from core.pipeline.suspects import IN_COMPANY, Suspects
from core.records.backlog import origin_of
from core.records.company import CompanyRecords, Namespace
from core.records.leases import Held, hold_lease, refuse_lost
from core.records.members import members_of
from core.records.ranges import HeldRange, hold_range, tries_of
from core.records.shardlist import ShardRecord, commit_flush, fail_rows, live_shards, namespace_state
from core.records.tables import Lane
from core.records.waiting import embedded_ids

log = structlog.get_logger()


class Flusher:
    """Flushes the namespaces of one company."""

    def __init__(
        self,
        records: CompanyRecords,
        builder: ShardBuilder,
        publisher: Publisher,
        observer: Observer,
        *,
        lease_s: float,
        attempts_max: int,
    ) -> None:
        """Build it; a dead flush is taken over after ``lease_s``.

        A row that was under way at ``attempts_max`` deaths of its worker, the last of them alone, is failed.
        """
        self._records = records
        self._builder = builder
        self._publisher = publisher
        self._observer = observer
        self._lease_s = lease_s
        self._deaths_max = max(1, attempts_max - IN_COMPANY)  # of a row tried alone

    def flush(self, namespace_id: int, plan: Flush) -> bool:
        """Flush as planned; return whether to look again.

        One worker at a time rewrites a namespace's tail, any number build shards beside it. Raises ``StaleGeneration``.
        """
        namespace = self._records.namespace_by_id(namespace_id)
        if plan is Flush.SHARD:
            with self._bulk(namespace_id, plan) as bulk:
                return self._flush_claimed(namespace, plan, [], bulk)
        with self._tail(namespace_id, plan) as tail:
            if tail is None:
                return False
            with self._records.database.read() as connection:
                fresh = embedded_ids(connection, namespace_id, Lane.INTERACTIVE, limits.TAIL_ROWS_MAX)
            if plan is Flush.TAIL:
                return self._flush_rows(namespace, plan, fresh, tail)
            with self._bulk(namespace_id, plan) as bulk:
                return self._flush_claimed(namespace, plan, fresh, bulk, tail)

    def _tail(self, namespace_id: int, plan: Flush) -> AbstractContextManager[Held | None]:
        name, tries = f"flush-{namespace_id}", tries_of(namespace_id, plan.value)
        # With bulk rows, it is the claim of these that is counted.
        counted = {"tries": tries} if plan is Flush.TAIL else {"shortened_by": tries}
        return hold_lease(self._records.database, name, self._records.clock, self._lease_s, **counted)

    def _bulk(self, namespace_id: int, plan: Flush) -> AbstractContextManager[HeldRange | None]:
        return hold_range(
            self._records.database,
            namespace_id,
            plan.value,
            self._records.clock,
            self._lease_s,
            rows_min=limits.TAIL_ROWS_MAX if plan is Flush.SHARD else 1,
            rows_max=limits.BULK_SHARD_ROWS if plan is Flush.SHARD else limits.TAIL_ROWS_MAX,
        )

    def _flush_claimed(
        self, namespace: Namespace, plan: Flush, fresh: Sequence[int], bulk: HeldRange | None, *tail: Held
    ) -> bool:
        if bulk is None:
            return False
        if not bulk.rows:
            return True  # another worker has claimed them since the plan was made: look again
        return self._flush_rows(namespace, plan, sorted([*fresh, *bulk.rows]), bulk, *tail)

    def _flush_rows(
        self, namespace: Namespace, plan: Flush, fresh: Sequence[int], counted: Held, *others: Held
    ) -> bool:
        """Flush rows that nobody else has while the leases last; ``counted`` knows of the deaths over them."""
        held = [counted, *others]
        with self._records.database.read() as connection:
            state = namespace_state(connection, namespace.id)
            # Suspects are built apart from the tail, whose rows have done no harm.
            apart = plan is Flush.SHARD or counted.deaths >= IN_COMPANY
            shards = [] if apart else live_shards(connection, namespace.id)
            replaced = [shard for shard in shards if shard.tier == 0]
            kept = members_of(connection, [shard.id for shard in replaced])
        if state is None or not fresh:
            return False
        namespace.key.at_least(state.key_version)
        if not counted.deaths:
            self._index(namespace, fresh, kept, held, replaced)
            return True
        suspects = Suspects(self._records.database, tries_of(namespace.id, plan.value), counted.deaths)
        with suspects.trial(fresh) as tried:
            if suspects.deaths_alone >= self._deaths_max:
                self._give_up(namespace, tried[0], held)
            else:
                self._index(namespace, tried, kept, held, replaced)
        if suspects.cleared:
            counted.deaths = 0
        return True

    def _index(
        self,
        namespace: Namespace,
        fresh: Sequence[int],
        kept: Sequence[int],
        held: Sequence[Held],
        replaced: Sequence[ShardRecord],
    ) -> None:
        """Build a shard of fresh rows and those of the shards it replaces, and make it live."""
        built = self._builder.build(namespace, sorted({*kept, *fresh}))
        now = self._records.clock()
        with self._publisher.committing(namespace, built) as connection:
            commit_flush(
                connection,
                namespace.id,
                held=held,
                added=built.shard,
                replaced=replaced,
                indexed=built.indexed,
                absorbed=built.absorbed,
                now=now,
            )
            self._publisher.fail(connection, namespace, built, now)
            lane, accepted_at = origin_of(connection, fresh[0])
        self._observer.indexed(lane, len(built.indexed), (self._records.clock() - accepted_at) / 1e6)

    def _give_up(self, namespace: Namespace, row: int, held: Sequence[Held]) -> None:
        """End a row that kills its worker whenever it is flushed. Raises ``StaleGeneration`` when a lease was lost."""
        log.error("rows_refused", reason=UNINDEXABLE, rows=1, namespace=namespace.public_id)
        with self._records.database.write(finishing=True) as connection:
            refuse_lost(connection, held)
            fail_rows(connection, [row], UNINDEXABLE, self._records.clock())
        self._observer.failed(UNINDEXABLE, 1)

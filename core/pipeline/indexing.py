"""The index stage: embedded rows become sealed, immutable shards; shards become fewer, larger ones.

Order of a commit: build in tmpfs, seal, put (fsync), then one transaction that makes the shard live. A crash before
the transaction leaves an orphan blob that nobody lists and the reconciler sweeps; after it, everything is there.
"""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial

import structlog
from sqlalchemy import Connection, select

from core import limits
from core.embedding.runtime import Embedder
from core.errors import Frozen, NotFound, OstrakaError, StaleGeneration
from core.observing.observer import Observer
from core.pipeline.building import UNINDEXABLE, Built, ShardBuilder, absorbed
from core.pipeline.bulkwait import BulkWait
from core.pipeline.embedding import BROKEN
from core.pipeline.patience import Patience
from core.pipeline.plans import Compaction, Flush, plan_compaction, plan_flush
from core.pipeline.suspects import IN_COMPANY, Suspects
from core.records.backlog import origin_of
from core.records.company import CompanyRecords, Namespace
from core.records.leases import Held, drop_lease, hold_lease, take_lease
from core.records.members import members_among, members_of
from core.records.overlay import Masked, masked_rows, purge_overdue
from core.records.shardlist import (
    ShardRecord,
    commit_compaction,
    commit_flush,
    fail_rows,
    live_shards,
    namespace_state,
)
from core.records.tables import Lane, namespaces
from core.records.waiting import embedded_ids, has_bulk, waiting_namespaces
from core.shards.blobs import Blobs
from core.shards.builder import GraphSettings
from core.shards.cache import ShardCache

log = structlog.get_logger()

_FLUSH_LEASE_S = 60.0
_COMPACTION_LEASE_S = 600.0
_ATTEMPTS_MAX = 5


class IndexStage:
    """Flushes and compacts the namespaces of one company. One namespace's trouble does not stop the others."""

    def __init__(
        self,
        records: CompanyRecords,
        blobs: Blobs,
        cache: ShardCache,
        embedder: Embedder,
        graph: GraphSettings,
        stopping: Callable[[], bool] = lambda: False,
        flush_lease_s: float = _FLUSH_LEASE_S,
        attempts_max: int = _ATTEMPTS_MAX,
        observer: Observer | None = None,
    ) -> None:
        """Build it; ``stopping()`` ends a drain after the shard at hand; a dead flush is taken over after its lease.

        A row that was under way at ``attempts_max`` deaths of its worker, the last of them alone, is failed.
        """
        self._records = records
        self._observer = observer or Observer()
        self._builder = ShardBuilder(records, blobs, cache, embedder, graph, self._observer)
        self._stopping = stopping
        self._flush_lease_s = flush_lease_s
        self._deaths_max = max(1, attempts_max - IN_COMPANY)  # of a row tried alone
        self._patience = Patience(records.clock, random.Random())  # noqa: S311 - spreads load, guards nothing
        self._bulk_wait = BulkWait()

    def drain(self) -> int:
        """Flush every namespace that should be, until none should; return the number of flushes. Raises ``Frozen``."""
        flushes = 0
        while True:
            with self._records.database.read() as connection:
                waiting = waiting_namespaces(connection, self._records.clock())
            waited_s = self._bulk_wait.waited_s(waiting, self._records.clock())
            due = [
                (each.namespace_id, plan) for each in waiting for plan in plan_flush(each, waited_s[each.namespace_id])
            ]
            done = sum(self._isolated(f"flush-{ns}", partial(self._flush, ns, plan)) for ns, plan in due)
            flushes += done
            if not done or self._stopping():
                return flushes

    def compact(self) -> int:
        """Compact every namespace as far as the policy asks; return how many were changed. Raises ``Frozen``."""
        with self._records.database.read() as connection:
            live = select(namespaces.c.id).where(namespaces.c.deleted_at.is_(None)).order_by(namespaces.c.id)
            ids = list(connection.execute(live).scalars())
        return sum(self._isolated(f"compact-{ns}", partial(self._compact, ns)) for ns in ids)

    def discard(self, namespace_public_id: str, shard: str) -> None:
        """Remove a shard that no reader can list any more."""
        self._builder.discard(namespace_public_id, shard)

    def _isolated(self, name: str, work: Callable[[], bool]) -> int:
        """Return 1 if ``work`` changed something. What fails is tried again later, and later still."""
        if not self._patience.allows(name):
            return 0
        try:
            changed = int(work())
        except StaleGeneration:
            log.info("commit_overtaken", lease=name)
            changed = 1  # the state changed under us: look again
        except NotFound:
            changed = 0
        except Frozen:
            raise
        except OstrakaError as error:
            log.error("namespace_skipped", lease=name, code=error.reason, retry_s=self._patience.failed(name))
            return 0
        except Exception as error:  # noqa: BLE001 - whatever the libraries raise
            log.error("namespace_skipped", lease=name, error=type(error).__name__, retry_s=self._patience.failed(name))
            return 0
        self._patience.succeeded(name)
        return changed

    def _flush(self, namespace_id: int, plan: Flush) -> bool:
        """Flush under the namespace's lease, which saves two workers from building the same thing."""
        namespace = self._records.namespace_by_id(namespace_id)
        name = f"flush-{namespace_id}"
        tries = f"{name}-{plan.value}"
        with hold_lease(self._records.database, name, self._records.clock, self._flush_lease_s, tries) as held:
            if held is None:
                return False
            return self._flush_held(namespace, plan, held, tries)

    def _flush_held(self, namespace: Namespace, plan: Flush, held: Held, tries: str) -> bool:
        lanes = {Flush.TAIL: [Lane.INTERACTIVE], Flush.SHARD: [Lane.BULK], Flush.ALL: list(Lane)}[plan]
        limit = limits.BULK_SHARD_ROWS if plan is Flush.SHARD else limits.TAIL_ROWS_MAX
        with self._records.database.read() as connection:
            state = namespace_state(connection, namespace.id)
            shards = live_shards(connection, namespace.id)
            fresh = embedded_ids(connection, namespace.id, lanes, limit)
            # Suspects are built apart from the tail, whose rows have done no harm.
            apart = plan is Flush.SHARD or held.deaths >= IN_COMPANY
            replaced = [] if apart else [shard for shard in shards if shard.tier == 0]
            kept = members_of(connection, [shard.id for shard in replaced])
        if state is None or not fresh:
            return False
        if plan is Flush.SHARD and len(fresh) < limits.TAIL_ROWS_MAX:
            return True  # another worker has flushed them since the plan was made: look again
        namespace.key.at_least(state.key_version)
        if not held.deaths:
            self._index(namespace, fresh, kept, state.generation, replaced)
            return True
        suspects = Suspects(self._records.database, tries, held.deaths)
        with suspects.trial(fresh) as tried:
            if suspects.deaths_alone >= self._deaths_max:
                self._give_up(namespace, tried[0])
            else:
                self._index(namespace, tried, kept, state.generation, replaced)
        if suspects.cleared:
            held.deaths = 0
        return True

    def _index(
        self,
        namespace: Namespace,
        fresh: Sequence[int],
        kept: Sequence[int],
        generation: int,
        replaced: Sequence[ShardRecord],
    ) -> None:
        """Build a shard of fresh rows and those of the shards it replaces, and make it live."""
        built = self._builder.build(namespace, sorted({*kept, *fresh}))
        now = self._records.clock()
        with self._committing(namespace, built) as connection:
            commit_flush(
                connection,
                namespace.id,
                base_generation=generation,
                added=built.shard,
                replaced=replaced,
                indexed=built.indexed,
                absorbed=built.absorbed,
                now=now,
            )
            self._fail(connection, namespace, built, now)
            lane, accepted_at = origin_of(connection, fresh[0])
        self._observer.indexed(lane, len(built.indexed), (self._records.clock() - accepted_at) / 1e6)

    def _give_up(self, namespace: Namespace, row: int) -> None:
        """End a row that kills its worker whenever it is flushed."""
        log.error("rows_refused", reason=UNINDEXABLE, rows=1, namespace=namespace.public_id)
        with self._records.database.write(finishing=True) as connection:
            fail_rows(connection, [row], UNINDEXABLE, self._records.clock())
        self._observer.failed(UNINDEXABLE, 1)

    def _compact(self, namespace_id: int) -> bool:
        namespace = self._records.namespace_by_id(namespace_id)
        if self._next_compaction(namespace) is None:
            return False
        name = f"compact-{namespace_id}"
        changed = False
        with hold_lease(self._records.database, name, self._records.clock, _COMPACTION_LEASE_S) as held:
            while held and not self._stopping() and (plan := self._next_compaction(namespace)):
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
        with self._committing(namespace, built) as connection:
            commit_compaction(
                connection, namespace.id, added=built.shard, replaced=replaced, absorbed=built.absorbed, now=now
            )
            self._fail(connection, namespace, built, now)
        for shard in replaced:
            if shard.quarantined_at is not None:
                log.info("shard_rebuilt", namespace=namespace.public_id, shard=shard.public_id)

    def _fail(self, connection: Connection, namespace: Namespace, built: Built, now: int) -> None:
        for reason, rows in ((BROKEN, built.broken), (UNINDEXABLE, built.poison)):
            fail_rows(connection, rows, reason, now)
            self._observer.failed(reason, len(rows))
        if built.poison:
            log.error("rows_refused", reason=UNINDEXABLE, rows=len(built.poison), namespace=namespace.public_id)

    @contextmanager
    def _committing(self, namespace: Namespace, built: Built) -> Iterator[Connection]:
        """Yield the transaction that makes a shard live; one that was overtaken is removed: nobody ever lists it."""
        try:
            with self._observer.stage("publish"), self._records.committing(namespace.id) as connection:
                yield connection
        except StaleGeneration:
            self._observer.overtaken()
            if built.shard:
                self.discard(namespace.public_id, built.shard.public_id)
            raise

    def _forget_absent(self, namespace: Namespace, generation: int, absent: Mapping[int, Masked]) -> None:
        """Clear the mark of masked rows that no shard of ``generation`` holds, nor any flush since or under way."""
        if not absent:
            return
        lease = f"flush-{namespace.id}"
        with self._records.database.write() as connection:
            token = take_lease(connection, lease, now=self._records.clock(), lease_us=int(self._flush_lease_s * 1e6))
            if token:
                state = namespace_state(connection, namespace.id)
                if state and state.generation == generation:
                    # A commit, although nothing changes: a flush that was paused past its lease, and has such a row in
                    # hand, must lose.
                    seen = absorbed((row, masked.deleted) for row, masked in absent.items())
                    now = self._records.clock()
                    with self._records.changing(connection, namespace.id):
                        commit_compaction(connection, namespace.id, added=None, replaced=[], absorbed=seen, now=now)
                drop_lease(connection, lease, token)

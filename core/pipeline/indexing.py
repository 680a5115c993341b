"""The index stage: embedded rows become sealed, immutable shards; shards become fewer, larger ones.

Order of a commit: build in tmpfs, seal, put (fsync), then one transaction that makes the shard live. A crash before
the transaction leaves an orphan blob that nobody lists; after it, everything is there.
"""

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import structlog

from core import limits
from core.embedding.runtime import Embedder
from core.errors import IntegrityError, NotFound, StaleGeneration, Unavailable
from core.ids import new_id
from core.pipeline.embedding import BROKEN
from core.pipeline.plans import Compaction, Flush, plan_compaction, plan_flush, tier_of
from core.records.company import CompanyRecords, Namespace
from core.records.leases import drop_lease, take_lease
from core.records.overlay import Masked, masked_rows, purge_overdue
from core.records.rows import shard_rows
from core.records.shardlist import (
    Absorbed,
    NewShard,
    ShardRecord,
    clear_overlay,
    commit_compaction,
    commit_flush,
    embedded_ids,
    fail_rows,
    fetch_rows,
    live_shards,
    namespace_state,
    waiting_namespaces,
)
from core.records.tables import Lane, State
from core.shards.blobs import LocalBlobs
from core.shards.builder import GraphSettings, ShardRow, build_shard
from core.shards.cache import ShardCache
from core.shards.opening import open_shard
from core.shards.reader import OpenShard
from core.shards.sealing import blob_name, put_shard

log = structlog.get_logger()

_FETCH_ROWS = 500
_FLUSH_LEASE_S = 60.0
_COMPACTION_LEASE_S = 600.0


@dataclass(frozen=True)
class _Built:
    """A shard that is stored but not live, and what its rows showed."""

    shard: NewShard | None
    indexed: Sequence[int]
    absorbed: Absorbed
    broken: Sequence[int]


class IndexStage:
    """Flushes and compacts the namespaces of one company."""

    def __init__(
        self,
        records: CompanyRecords,
        blobs: LocalBlobs,
        cache: ShardCache,
        embedder: Embedder,
        graph: GraphSettings,
        stopping: Callable[[], bool] = lambda: False,
        flush_lease_s: float = _FLUSH_LEASE_S,
    ) -> None:
        """Build it; ``stopping()`` ends a drain after the shard at hand; a dead flush is taken over after its lease."""
        self._records = records
        self._blobs = blobs
        self._cache = cache
        self._embedder = embedder
        self._graph = graph
        self._stopping = stopping
        self._flush_lease_s = flush_lease_s

    def drain(self) -> int:
        """Flush every namespace that should be, until none should; return the number of flushes."""
        flushes = 0
        while True:
            with self._records.database.read() as connection:
                waiting = waiting_namespaces(connection)
            now = self._records.clock()
            due = [(each.namespace_id, plan) for each in waiting for plan in plan_flush(each, now)]
            done = sum(self._leased(f"flush-{ns}", self._flush_lease_s, self._flusher(ns, plan)) for ns, plan in due)
            flushes += done
            if not done or self._stopping():
                return flushes

    def compact(self) -> int:
        """Compact every namespace as far as the policy asks; return the number of namespaces changed."""
        return sum(
            _isolated(f"compact-{namespace.id}", self._compactor(namespace)) for namespace in self._records.namespaces()
        )

    def _leased(self, name: str, lease_s: float, work: Callable[[], bool]) -> int:
        """Run ``work`` under a named lease; return 1 if it changed something.

        The lease keeps two workers from building the same thing; the generation is what guards correctness.
        """
        with self._records.database.write() as connection:
            token = take_lease(connection, name, now=self._records.clock(), lease_us=int(lease_s * 1e6))
        if token is None:
            return 0
        try:
            return _isolated(name, work)
        finally:
            with self._records.database.write() as connection:
                drop_lease(connection, name, token)

    def _flusher(self, namespace_id: int, plan: Flush) -> Callable[[], bool]:
        return lambda: self._flush(self._records.namespace_by_id(namespace_id), plan)

    def _flush(self, namespace: Namespace, plan: Flush) -> bool:
        lanes = {Flush.TAIL: [Lane.INTERACTIVE], Flush.SHARD: [Lane.BULK], Flush.ALL: list(Lane)}[plan]
        limit = limits.BULK_SHARD_ROWS if plan is Flush.SHARD else limits.TAIL_ROWS_MAX
        with self._records.database.read() as connection:
            state = namespace_state(connection, namespace.id)
            shards = live_shards(connection, namespace.id)
            fresh = embedded_ids(connection, namespace.id, lanes, limit)
        if state is None or not fresh:
            return False
        replaced = [] if plan is Flush.SHARD else [shard for shard in shards if shard.tier == 0]
        kept = [row for shard in replaced for row in self._shard_ids(namespace, shard)]
        built = self._build(namespace, sorted({*kept, *fresh}))
        now = self._records.clock()
        with self._discarded_if_stale(namespace, built), self._records.database.write() as connection:
            commit_flush(
                connection,
                namespace.id,
                base_generation=state.generation,
                added=built.shard,
                replaced=replaced,
                indexed=built.indexed,
                absorbed=built.absorbed,
                now=now,
            )
            fail_rows(connection, built.broken, BROKEN, now)
        return True

    def _compactor(self, namespace: Namespace) -> Callable[[], bool]:
        def compact_if_due() -> bool:
            if self._next_compaction(namespace) is None:
                return False
            lease = f"compact-{namespace.id}"
            return bool(self._leased(lease, _COMPACTION_LEASE_S, lambda: self._compact(namespace)))

        return compact_if_due

    def _compact(self, namespace: Namespace) -> bool:
        changed = False
        while not self._stopping() and (plan := self._next_compaction(namespace)):
            self._rewrite(namespace, plan.shards)
            changed = True
        return changed

    def _next_compaction(self, namespace: Namespace) -> Compaction | None:
        with self._records.database.read() as connection:
            state = namespace_state(connection, namespace.id)
            shards = live_shards(connection, namespace.id)
            overlay = masked_rows(connection, namespace.id)
            overdue = purge_overdue(connection, namespace.id, self._records.clock())
        # A row that searches pass on to its successor stays masked however often it is rewritten.
        settled = {row: masked for row, masked in overlay.items() if not masked.forward}
        if state is None or (len(shards) < limits.TIER_FACTOR and not settled):
            return None
        held = self._held(namespace, shards, settled)
        plan = plan_compaction(shards, {shard: len(rows) for shard, rows in held.items()}, overdue=overdue)
        if plan is None:
            absent = settled.keys() - set().union(*held.values())
            self._forget_absent(namespace, state.generation, {row: settled[row] for row in absent})
        return plan

    def _rewrite(self, namespace: Namespace, replaced: Sequence[ShardRecord]) -> None:
        rows = sorted(row for shard in replaced for row in self._shard_ids(namespace, shard))
        built = self._build(namespace, rows)
        now = self._records.clock()
        with self._discarded_if_stale(namespace, built), self._records.database.write() as connection:
            commit_compaction(
                connection, namespace.id, added=built.shard, replaced=replaced, absorbed=built.absorbed, now=now
            )
            fail_rows(connection, built.broken, BROKEN, now)

    @contextmanager
    def _discarded_if_stale(self, namespace: Namespace, built: _Built) -> Iterator[None]:
        """Remove a shard whose commit was overtaken: nobody lists it, nobody ever will."""
        try:
            yield
        except StaleGeneration:
            if built.shard:
                self.discard(namespace.public_id, built.shard.public_id)
            raise

    def _held(
        self, namespace: Namespace, shards: Sequence[ShardRecord], overlay: Collection[int]
    ) -> dict[int, set[int]]:
        """Return, for each shard, which rows of the overlay it holds."""
        if not overlay:
            return {}
        wanted = np.array(sorted(overlay), np.int64)
        opened = {shard.id: self._open(namespace, shard) for shard in shards}
        return {shard: set(wanted[each.locate(wanted) >= 0].tolist()) for shard, each in opened.items()}

    def _forget_absent(self, namespace: Namespace, generation: int, absent: Mapping[int, Masked]) -> None:
        """Clear the mark of masked rows that no shard of ``generation`` holds, nor any flush since or under way."""
        if not absent:
            return
        absorbed = _absorbed((row, masked.deleted) for row, masked in absent.items())
        lease = f"flush-{namespace.id}"
        with self._records.database.write() as connection:
            token = take_lease(connection, lease, now=self._records.clock(), lease_us=int(self._flush_lease_s * 1e6))
            if token:
                state = namespace_state(connection, namespace.id)
                if state and state.generation == generation:
                    clear_overlay(connection, absorbed)
                drop_lease(connection, lease, token)

    def _build(self, namespace: Namespace, ids: Sequence[int]) -> _Built:
        """Build, seal and store a shard of these rows; the opened files go straight into the cache."""
        started = time.perf_counter()
        fingerprint, dim = self._embedder.fingerprint, self._embedder.dim
        rows: list[ShardRow] = []
        masked, broken, found = [], [], []
        with self._records.database.read() as connection:
            for start in range(0, len(ids), _FETCH_ROWS):
                fetched = fetch_rows(connection, namespace.id, ids[start : start + _FETCH_ROWS])
                opened, refused = shard_rows(namespace, fetched, fingerprint, dim)
                rows += opened
                broken += refused
                masked += [(row.id, row.state == State.DELETED) for row in fetched if row.overlay]
                found += [row.id for row in fetched if row.state == State.EMBEDDED]
        if broken:
            log.error("rows_refused", reason=BROKEN, rows=len(broken), namespace=namespace.public_id)
        absorbed = _absorbed(masked)
        indexed = sorted(set(found) - set(broken))
        if not rows:
            return _Built(None, indexed, absorbed, broken)
        shard = new_id("sh")
        with self._cache.workspace() as workspace:
            folder = workspace / shard
            folder.mkdir()
            build_shard(folder, rows, fingerprint, self._graph)
            size = put_shard(self._blobs, namespace.key, shard, folder, workspace / "archive.tar")
            self._cache.adopt(shard, folder)
        tier = tier_of(len(rows))
        seconds = time.perf_counter() - started
        log.info("shard_built", namespace=namespace.public_id, shard=shard, tier=tier, rows=len(rows), seconds=seconds)
        members = [row.attributes.id for row in rows]
        new = NewShard(shard, tier, len(rows), size, namespace.key.version, fingerprint, seconds, members)
        return _Built(new, indexed, absorbed, broken)

    def _open(self, namespace: Namespace, shard: ShardRecord) -> OpenShard:
        return open_shard(self._cache, self._blobs, namespace.key, shard.public_id, shard.fingerprint)

    def _shard_ids(self, namespace: Namespace, shard: ShardRecord) -> list[int]:
        ids: list[int] = self._open(namespace, shard).ids.tolist()
        return ids

    def discard(self, namespace_public_id: str, shard: str) -> None:
        """Remove a shard that no reader can list any more."""
        self._cache.drop(shard)
        self._blobs.delete(blob_name(namespace_public_id, shard))


def _isolated(name: str, work: Callable[[], bool]) -> int:
    """Return 1 if ``work`` changed something; one namespace's trouble must not stop the others."""
    try:
        return int(work())
    except StaleGeneration:
        log.info("commit_overtaken", lease=name)
        return 1  # the state changed under us: look again
    except NotFound:
        return 0
    except (IntegrityError, Unavailable) as error:
        log.error("namespace_skipped", lease=name, code=error.reason)
        return 0


def _absorbed(masked: Iterable[tuple[int, bool]]) -> Absorbed:
    rows = list(masked)
    return Absorbed([row for row, deleted in rows if deleted], [row for row, deleted in rows if not deleted])

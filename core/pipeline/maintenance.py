"""The maintain stage: what nobody asked for but somebody must do. Each step is idempotent, two at once do no harm."""

from collections.abc import Callable, Mapping

import structlog
from sqlalchemy import Connection, delete, select

from core.backup.snapshot import LEASE_PREFIX
from core.errors import Frozen, OstrakaError, Unavailable
from core.pipeline.forgetting import resume_deletions
from core.pipeline.indexing import IndexStage
from core.pipeline.orphans import SWEEP_EVERY_S, orphan_age_s, sweep_blobs
from core.pipeline.purging import PurgeWatch
from core.pipeline.repair import SCRUB_EVERY_S, Repair
from core.pipeline.resealing import Resealing
from core.records.company import CompanyRecords
from core.records.counters import MAINTAINED_AT, read_counter, set_counter
from core.records.deadlines import holds
from core.records.deletion import expire
from core.records.leases import hold_lease
from core.records.tables import leases, namespaces, shards
from core.shards.blobs import Blobs

log = structlog.get_logger()

READER_GRACE_S = 60.0  # how long a retired shard stays for readers that listed it before
_EXPIRE_ROWS = 1_000


class Reconciler:
    """Does a company's maintenance, in rounds. What fails in one step does not stop the next."""

    def __init__(
        self,
        records: CompanyRecords,
        blobs: Blobs,
        index: IndexStage,
        repair: Repair,
        purges: PurgeWatch,
        resealing: Resealing,
        *,
        end_rotation: Callable[[], bool],
        anchor: Callable[[], bool],
        sweep_cache: Callable[[], int],
        stopping: Callable[[], bool],
        lease_s: float,
    ) -> None:
        """``anchor()`` notes how far the record store has come, ``sweep_cache()`` looks after the host's cache.

        ``end_rotation()`` ends a rotation of the company's key that was cut off.

        ``stopping()`` ends a round after the step at hand.
        One process does the rounds at a time; one that dies in the middle is followed after ``lease_s``.
        """
        self._records = records
        self._stopping = stopping
        self._lease_s = lease_s
        self._steps: Mapping[str, Callable[[], int]] = {
            "expired": lambda: expire_memories(records),
            "resumed": lambda: resume_deletions(records, stopping),
            "released": repair.recheck,
            "rotated": lambda: int(end_rotation()),
            "resealed": resealing.look,
            "compacted": index.compact,
            "collected": lambda: collect_garbage(records, index),
            "purged": purges.look,
            "swept": lambda: self._rarely(
                "swept_at", min(SWEEP_EVERY_S, orphan_age_s(records) / 2), lambda: sweep_blobs(records, blobs)
            ),
            "dropped": sweep_cache,
            "refused": lambda: self._rarely("scrubbed_at", SCRUB_EVERY_S, repair.scrub),
            "anchored": lambda: int(anchor()),
        }

    def run(self) -> None:
        """Do one round, unless another process is at it; log what was done. Raises ``Frozen``, ``Unavailable``."""
        with hold_lease(self._records.database, "maintain", self._records.clock, self._lease_s) as held:
            if held is None:
                return
            counts = {name: self._step(name, step) for name, step in self._steps.items() if not self._stopping()}
            with self._records.database.write(finishing=True) as connection:
                set_counter(connection, MAINTAINED_AT, self._records.clock())
        if done := {name: count for name, count in counts.items() if count and name != "anchored"}:
            log.info("maintained", company=self._records.company, **done)

    def _step(self, name: str, step: Callable[[], int]) -> int:
        try:
            return step()
        except Frozen:
            raise
        except OstrakaError as error:
            log.error("maintenance_failed", company=self._records.company, step=name, code=error.reason)
        except Exception as error:  # noqa: BLE001 - whatever it is, the other steps do not depend on this one
            log.error("maintenance_failed", company=self._records.company, step=name, error=type(error).__name__)
        return 0

    def _rarely(self, counter: str, every_s: float, step: Callable[[], int]) -> int:
        """Run a step unless any process has begun it within ``every_s``."""
        now = self._records.clock()
        with self._records.database.read() as connection:
            if 0 <= now - read_counter(connection, counter) < every_s * 1e6:
                return 0
        with self._records.database.write() as connection:
            set_counter(connection, counter, now)
        return step()


def collect_garbage(records: CompanyRecords, index: IndexStage) -> int:
    """Delete the blobs of shards retired longer ago than any reader needs them; return how many.

    None while a backup is made: it copies the blobs that were live when it began.
    """
    now = records.clock()
    with records.database.read() as connection:
        if _copied(connection, now):
            return 0
        retired = connection.execute(
            select(shards.c.id, shards.c.public_id, namespaces.c.public_id.label("namespace"))
            .join(namespaces, namespaces.c.id == shards.c.namespace_id)
            .where(shards.c.retired_at <= now - int(READER_GRACE_S * 1e6))
        ).all()
    gone = []
    for row in retired:
        try:
            index.discard(row.namespace, row.public_id)
            gone.append(row.id)
        except Unavailable as error:  # tried again in the next round
            log.error("blob_not_removed", namespace=row.namespace, shard=row.public_id, code=error.reason)
    if gone:
        with records.database.write() as connection:
            for shard in gone:
                connection.execute(delete(shards).where(shards.c.id == shard))
    return len(gone)


def expire_memories(records: CompanyRecords) -> int:
    """Delete every memory whose time has run out, in bounded transactions; return how many."""
    total = 0
    while (expired := expire(records, _EXPIRE_ROWS)) > 0:
        total += expired
    return total


def _copied(connection: Connection, now: int) -> bool:
    running = select(leases.c.name).where(leases.c.name.startswith(LEASE_PREFIX), holds(leases.c.until, now))
    return connection.execute(running.limit(1)).first() is not None

"""The index stage: embedded rows become sealed, immutable shards; shards become fewer, larger ones.

Order of a commit: build in tmpfs, seal, put (fsync), then one transaction that makes the shard live. A crash before
the transaction leaves an orphan blob that nobody lists and the reconciler sweeps; after it, everything is there.
"""

import random
from collections.abc import Callable
from functools import partial

import structlog
from sqlalchemy import select

from core.embedding.runtime import Embedder
from core.errors import Frozen, NotFound, OstrakaError, StaleGeneration
from core.observing.observer import Observer
from core.pipeline.building import ShardBuilder
from core.pipeline.bulkwait import BulkWait
from core.pipeline.compacting import Compactor
from core.pipeline.flushing import Flusher
from core.pipeline.patience import Patience
from core.pipeline.plans import plan_flush
from core.pipeline.publishing import Publisher
from core.records.company import CompanyRecords
from core.records.tables import namespaces
from core.records.waiting import waiting_namespaces
from core.shards.blobs import Blobs
from core.shards.builder import GraphSettings
from core.shards.cache import ShardCache

log = structlog.get_logger()

_FLUSH_LEASE_S = 60.0
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
        observer = observer or Observer()
        self._builder = ShardBuilder(records, blobs, cache, embedder, graph, observer)
        publisher = Publisher(records, self._builder, observer)
        self._flusher = Flusher(
            records, self._builder, publisher, observer, lease_s=flush_lease_s, attempts_max=attempts_max
        )
        self._compactor = Compactor(records, self._builder, publisher, stopping, flush_lease_s=flush_lease_s)
        self._stopping = stopping
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
            done = sum(self._isolated(f"flush-{ns}", partial(self._flusher.flush, ns, plan)) for ns, plan in due)
            flushes += done
            if not done or self._stopping():
                return flushes

    def compact(self) -> int:
        """Compact every namespace as far as the policy asks; return how many were changed. Raises ``Frozen``."""
        with self._records.database.read() as connection:
            live = select(namespaces.c.id).where(namespaces.c.deleted_at.is_(None)).order_by(namespaces.c.id)
            ids = list(connection.execute(live).scalars())
        return sum(self._isolated(f"compact-{ns}", partial(self._compactor.compact, ns)) for ns in ids)

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

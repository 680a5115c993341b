"""Putting the parts of a process together: what API and worker processes both stand on."""

import random
import shutil
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial

from core.audit.auditor import Auditor
from core.embedding.cpu import available_cores
from core.embedding.opening import name_embedder, open_embedder
from core.embedding.targets import Device
from core.errors import ConfigurationError, Frozen, NotFound, OstrakaError
from core.observing.observer import Observer
from core.pipeline.admission import Admission, quota_of
from core.pipeline.departures import Departure, DepartureWatch, delete_company, finish_departures
from core.pipeline.doorbell import EMBED, INDEX, MAINTAIN, Doorbell
from core.pipeline.embedding import EmbedSettings, EmbedStage
from core.pipeline.gate import Gate
from core.pipeline.groupcommit import GroupCommitter
from core.pipeline.indexing import IndexStage
from core.pipeline.maintenance import Reconciler
from core.pipeline.orphans import CacheSweep
from core.pipeline.purging import PurgeWatch
from core.pipeline.repair import Repair
from core.pipeline.resealing import Resealing
from core.pipeline.rotation import end_company_rotation
from core.pipeline.unclaimed import forgotten_work
from core.records.backlog import Load
from core.records.company import CompanyRecords
from core.records.control import ControlStore, open_control
from core.records.shardlist import fingerprints
from core.records.tables import Lane
from core.search.service import QueryService, Ranking
from core.search.snapshots import SnapshotStore
from core.settings import Settings
from core.shards.builder import GraphSettings
from core.shards.cache import ShardCache
from core.tenant import Tenant
from core.vectors import VectorSpace


class Runtime:
    """One process's open stores, model and cache. Close it to leave nothing behind."""

    def __init__(
        self,
        settings: Settings,
        publish: Callable[[str, str], None],
        environment: Mapping[str, str] | None = None,
        observer: Observer | None = None,
        *,
        embeds: bool = True,
        device: Device = "cpu",
        beat: Callable[[], None] = lambda: None,
    ) -> None:
        """Open everything that a role needs. Raises ``ConfigurationError`` naming what must change.

        ``environment`` is where a source of keys looks for secrets, by default the process's own. Where nothing
        ``embeds``, no model is loaded; else it runs on ``device``, and a GPU is then this process's alone. ``beat()``
        is called as work comes forward, by the thread that does it.
        """
        self.settings = settings
        self.observer = observer or Observer()
        self.control: ControlStore = open_control(settings, environment)
        self.cache = ShardCache(
            settings.cache.path, self.control.root, settings.cache.bytes_max, allow_disk=settings.cache.allow_disk
        )
        self.embedder = open_embedder(settings, device) if embeds else name_embedder(settings)
        self.doorbell = Doorbell(publish, self.observer.tracer)
        self.stopping = threading.Event()  # once set, drains finish what they have in hand, or hand it back
        self._beat = beat
        self._gate = Gate()
        self._cache_sweep = CacheSweep(
            self.cache, lambda: [self.control.records(company_id) for company_id in self.control.company_ids()]
        )
        self._suspecting = threading.Lock()
        self._text_arms = ThreadPoolExecutor(settings.server.search_threads, thread_name_prefix="text-arm")
        self._tenants: dict[str, Tenant] = {}
        self._lock = threading.Lock()
        self.auditor = Auditor(self.control.audit, self.control.clock, settings.auth.audit_days)
        self._departures = DepartureWatch(self.control, self.let_go)

    def opened(self, company_id: str) -> Tenant | None:
        """Return the parts for a company that this process has open; waits for nothing."""
        return self._tenants.get(company_id)

    def tenant(self, company_id: str) -> Tenant:
        """Return the parts for a company. Raises ``NotFound``, ``IntegrityError``."""
        with self._lock:
            if company_id not in self._tenants:
                self._tenants[company_id] = self._open_tenant(company_id)
            return self._tenants[company_id]

    def delete_company(self, company_id: str) -> Departure:
        """Delete a company: see ``core.pipeline.departures``."""
        return delete_company(self.control, self.cache, company_id, self.let_go)

    def finish_departures(self) -> None:
        """Do what deletions of companies have left to do. Raises ``Unavailable``."""
        finish_departures(self.control, self.cache)

    def let_go(self, company_id: str) -> None:
        """Close everything of a company that was deleted; nothing can open it again."""
        self._close_tenant(company_id)
        self.control.let_go(company_id)
        self._close_tenant(company_id)  # a request may have opened it anew in between, and cannot from now on
        with suppress(OstrakaError):  # of another company that cannot be asked: the sweep comes back to it
            self._cache_sweep.drop_unlisted(idle_s=0)

    def refuse_other_models(self) -> None:
        """Raise ``ConfigurationError`` when a namespace was indexed with another model than the configured one."""
        for company in self.control.companies():
            records = self.control.records(company.id)
            for namespace in records.namespaces():
                with records.database.read() as connection:
                    others = fingerprints(connection, namespace.id) - {self.embedder.fingerprint}
                if others:
                    raise ConfigurationError(
                        f"[embeddings] model: namespace {namespace.public_id} was embedded with {others.pop()}, "
                        f"the settings ask for {self.embedder.fingerprint}; configure that model and precision again"
                    )

    def embed(self, company_id: str, lane: Lane) -> None:
        """Embed what is pending in a lane, then ring for the index."""
        self._gate.run((EMBED, lane, company_id), partial(self.tenant(company_id).embed.drain, lane))

    def index(self, company_id: str) -> None:
        """Flush what is embedded."""
        self._gate.run((INDEX, company_id), self.tenant(company_id).index.drain)

    def maintain(self, company_id: str) -> None:
        """Do a round of maintenance: see ``Reconciler``."""
        self._gate.run((MAINTAIN, company_id), self.tenant(company_id).reconciler.run)

    def work(self, queue: str, company_id: str) -> None:
        """Do the work of a queue for a company, until there is none. Idempotent: a doubled ring changes nothing.

        While the server is frozen there is none, nor for a company that is suspended, but to maintain what it has. What
        is stopped so is found again afterwards.
        """
        if queue != MAINTAIN and self.control.terms(company_id).suspended:
            return
        if self.control.records(company_id).database.frozen:
            return
        with suppress(Frozen):
            match queue:
                case "embed":
                    self.embed(company_id, Lane.INTERACTIVE)
                case "embed-bulk":
                    self.embed(company_id, Lane.BULK)
                case "index":
                    self.index(company_id)
                case "maintain":
                    self.maintain(company_id)

    def catch_up(self, queue: str, company_id: str) -> None:
        """Do the work of a queue whose ring was lost, for one company."""
        if forgotten_work(self.control.records(company_id), queue):
            with self.observer.tracer.span("catch-up", queue=queue, company=company_id):
                self.work(queue, company_id)

    def _told_to_stop(self) -> bool:
        """Say whether to stop. It is asked between two pieces of work, so that the last one is done."""
        self._beat()
        return self.stopping.is_set()

    def _embedded(self, company_id: str) -> None:
        self._beat()
        self.doorbell.ring(INDEX, company_id)

    def _rests(self, company_id: str) -> bool:
        """Say whether what a company wrote is left as it is: it is suspended, or was deleted."""
        try:
            return self.control.terms(company_id).suspended
        except NotFound:
            return True

    def close(self) -> None:
        """Finish what was accepted, close every part, leave the cache."""
        self.stopping.set()
        self._departures.close()
        self.doorbell.close()
        for tenant in self._tenants.values():
            tenant.committer.close()
            tenant.snapshots.close()
        self._text_arms.shutdown()
        self.embedder.close()
        self.cache.close()
        self.auditor.close()
        self.control.close()
        self.observer.tracer.close()

    def _close_tenant(self, company_id: str) -> None:
        with self._lock:
            tenant = self._tenants.pop(company_id, None)
        if tenant is not None:
            tenant.committer.close()
            tenant.snapshots.close()

    def _open_tenant(self, company_id: str) -> Tenant:
        records = self.control.records(company_id)
        blobs = self.control.depot.of(company_id)
        ring_maintenance = partial(self.doorbell.ring, MAINTAIN, company_id)
        repair = Repair(
            records, blobs, self.cache, self.embedder.dim, ring=ring_maintenance, stopping=self._told_to_stop
        )
        snapshots = SnapshotStore(repair.open, records.check, self.cache)
        retrieval = self.settings.retrieval
        ranking = Ranking(
            fusion=retrieval.fusion,
            weight_dense=retrieval.weight_dense,
            neighbour_share=retrieval.neighbour_share,
            ef_search=retrieval.hnsw_ef_search,
        )

        ring = partial(self.doorbell.ring_lanes, company_id)
        graph = GraphSettings(
            m=retrieval.hnsw_m, ef_construction=retrieval.hnsw_ef_construction, threads=available_cores()
        )
        index = IndexStage(
            records,
            blobs,
            self.cache,
            self.embedder,
            graph,
            self._told_to_stop,
            flush_lease_s=self.settings.queue.lease_s,
            attempts_max=self.settings.queue.attempts_max,
            observer=self.observer,
        )
        return Tenant(
            records=records,
            committer=GroupCommitter(records.database, records.clock, ring, self.observer),
            admission=self._admission(company_id, records),
            query=QueryService(records, snapshots, self.embedder, ranking, self._text_arms),
            embed=self._embed_stage(company_id, records),
            index=index,
            reconciler=Reconciler(
                records,
                blobs,
                index,
                repair,
                PurgeWatch(records, blobs),
                Resealing(records, ring_maintenance, self._told_to_stop),
                end_rotation=partial(end_company_rotation, self.control, company_id),
                anchor=lambda: self.control.anchor(company_id),
                sweep_cache=self._cache_sweep.look,
                stopping=self._told_to_stop,
                lease_s=self.settings.queue.lease_s,
            ),
            snapshots=snapshots,
            space=VectorSpace(self.embedder.fingerprint, self.embedder.dim),
            ring=ring,
        )

    def _admission(self, company_id: str, records: CompanyRecords) -> Admission:
        queue = self.settings.queue
        return Admission(
            records.database,
            Load(queue.depth_max, queue.bytes_max),
            free_bytes=lambda: shutil.disk_usage(records.folder).free,
            free_bytes_min=self.settings.storage.free_bytes_min,
            quota=lambda: quota_of(self.control.terms(company_id)),
        )

    def _embed_stage(self, company_id: str, records: CompanyRecords) -> EmbedStage:
        queue = self.settings.queue
        settings = EmbedSettings(
            batch_rows=self.settings.embeddings.batch_size,
            lease_us=int(queue.lease_s * 1e6),
            attempts_max=queue.attempts_max,
        )
        return EmbedStage(
            records,
            self.embedder,
            settings,
            on_embedded=lambda _: self._embedded(company_id),
            suspecting=self._suspecting,
            rng=random.Random(),  # noqa: S311 - spreads load, guards nothing
            stopping=lambda: self.stopping.is_set() or self._rests(company_id),
            observer=self.observer,
        )

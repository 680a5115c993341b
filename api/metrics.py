"""Prometheus metrics of the API process; counts come from the record store at each scrape, so they cannot drift."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cache
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import Connection

from api.companyfigures import CompanyFigures
from core.audit.auditor import Auditor
from core.observing.exposition import Exposition
from core.observing.process import HostFigures, ReadinessFigures
from core.pipeline.checkups import Checkups
from core.pipeline.doorbell import EMBED, EMBED_BULK
from core.records.backlog import lane_loads, oldest_pending_at
from core.records.company import CompanyRecords
from core.records.keyversions import retiring
from core.records.ledger import NOTHING, public_ids, read_ledger, total
from core.records.quarantine import quarantined_shards
from core.records.reading import count_shards
from core.records.tables import Lane, State
from core.runtime import Runtime

_SEARCH_BUCKETS_S: Final = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
_PART_BUCKETS_S: Final = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 1.0)
_REQUEST_BUCKETS_S: Final = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0)
_METHODS: Final = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})


class Metrics:
    """The process's registries: one for each company, so that a credential shows its own company's alone."""

    def __init__(self, runtime: Runtime, checkups: Checkups) -> None:
        self._runtime = runtime
        self._companies: dict[str, _Company] = {}
        self._server = CollectorRegistry()
        self._server.register(_Audit(runtime.auditor))
        self._server.register(CompanyFigures(runtime))
        self._server.register(ReadinessFigures(checkups))
        self._process = Exposition(runtime)
        requests = Histogram(
            "ostraka_request_duration_seconds",
            "Time of a request, waiting included.",
            ["method", "route", "status"],
            buckets=_REQUEST_BUCKETS_S,
            registry=self._server,
        )
        parts = Histogram(
            "ostraka_search_part_duration_seconds",
            "Time of a part of a search.",
            ["part"],
            buckets=_PART_BUCKETS_S,
            registry=self._server,
        )
        # Few, asked for all the time: finding one by its labels costs twice what an observation does.
        self._request, self._part = cache(requests.labels), cache(parts.labels)

    def observe_request(self, method: str, route: str, status: int, took_s: float) -> None:
        """Count a request by its route's template and the class of its status (``2xx``)."""
        known = method if method in _METHODS else "other"
        self._request(known, route, f"{status // 100}xx").observe(took_s)

    def observe_search(self, company: str, namespace: str, took_s: float, parts_ms: Mapping[str, float]) -> None:
        """Count a search of a namespace, named by its opaque id, and the times of its parts."""
        registry = self._of(company)
        registry.count_search(namespace)
        registry.seconds.observe(took_s)
        for part, part_ms in parts_ms.items():
            self._part(part).observe(part_ms / 1e3)

    def expose(self, company: str, *, operates: bool) -> bytes:
        """Return a company's metrics in the text format; for the operator, the server's and every company's too."""
        self._of(company).forget_departed()
        text: bytes = generate_latest(self._of(company).registry)
        if operates:
            for departed in self._companies.keys() - set(self._runtime.control.company_ids()):
                self._companies.pop(departed, None)  # unless another scrape was faster
            text += generate_latest(self._server) + self._process.of_process()
        return text

    def _of(self, company: str) -> "_Company":
        return self._companies.get(company) or self._companies.setdefault(company, _Company(self._runtime, company))


class _Company:
    """A company's registry."""

    def __init__(self, runtime: Runtime, company: str) -> None:
        self.registry = CollectorRegistry()
        self.searches = Counter("ostraka_searches", "Searches answered.", ["namespace"], registry=self.registry)
        self.seconds = Histogram(
            "ostraka_search_duration_seconds",
            "Time of a search, waiting included.",
            buckets=_SEARCH_BUCKETS_S,
            registry=self.registry,
        )
        self._records = runtime.control.records(company)
        self._searched: set[str] = set()
        self.registry.register(_Ledger(self._records))
        self.registry.register(HostFigures(runtime.control.root, runtime.doorbell))

    def count_search(self, namespace: str) -> None:
        """Count a search of a namespace."""
        self._searched.add(namespace)
        self.searches.labels(namespace).inc()

    def forget_departed(self) -> None:
        """Drop what was counted of namespaces that were deleted."""
        with self._records.database.read() as connection:
            live = set(public_ids(connection).values())
        for namespace in self._searched - live:
            self._searched.discard(namespace)
            with suppress(KeyError):  # another scrape was faster
                self.searches.remove(namespace)


class _Ledger(Collector):
    """Gauges and totals counted from the record store."""

    def __init__(self, records: CompanyRecords) -> None:
        self._records = records

    def collect(self) -> Iterator[Metric]:
        """Yield the present counts, all of one moment."""
        with self._records.database.read() as connection:
            yield from _namespaces(connection)
            yield from _queues(connection, self._records.clock())
            quarantined = GaugeMetricFamily("ostraka_quarantined_shards", "Live shards whose file was refused.")
            quarantined.add_metric([], len(quarantined_shards(connection)))
            rotating = GaugeMetricFamily("ostraka_keys_retiring", "Namespaces that still need an older key.")
            rotating.add_metric([], len(retiring(connection)))
        frozen = GaugeMetricFamily("ostraka_frozen", "1 while nothing may be written, so that the data can be copied.")
        frozen.add_metric([], float(self._records.database.frozen))
        yield from (quarantined, rotating, frozen)


class _Audit(Collector):
    """What this process wrote to the audit log."""

    def __init__(self, auditor: Auditor) -> None:
        self._auditor = auditor

    def collect(self) -> Iterator[Metric]:
        """Yield the present counts."""
        entries = CounterMetricFamily("ostraka_audit_entries_total", "Entries written to the audit log.")
        entries.add_metric([], self._auditor.entries)
        lost = CounterMetricFamily("ostraka_audit_lost_total", "Requests that were counted in it and nothing else.")
        lost.add_metric([], self._auditor.lost)
        yield from (entries, lost)


def _namespaces(connection: Connection) -> Iterator[Metric]:
    memories = GaugeMetricFamily("ostraka_memories_total", "Memories not deleted.", labels=["namespace"])
    states = GaugeMetricFamily("ostraka_memory_states", "Rows by state.", labels=["namespace", "state"])
    ingest = CounterMetricFamily("ostraka_ingest", "Rows ever accepted.", labels=["namespace"])
    imbalance = GaugeMetricFamily("ostraka_ledger_imbalance", "Rows not accounted for.", labels=["namespace"])
    shards = GaugeMetricFamily("ostraka_shards", "Live shards.", labels=["namespace"])
    size = GaugeMetricFamily("ostraka_shard_bytes", "Bytes of live shards.", labels=["namespace"])
    ledger = read_ledger(connection)
    for namespace, public_id in public_ids(connection).items():
        label, balance = [public_id], ledger.get(namespace, NOTHING)
        live, size_bytes = count_shards(connection, namespace)
        ingest.add_metric(label, balance.accepted)
        memories.add_metric(label, balance.present)
        imbalance.add_metric(label, balance.imbalance)
        shards.add_metric(label, live)
        size.add_metric(label, size_bytes)
        for place, rows in balance.places.items():
            states.add_metric([*label, place], rows)
    imbalance.add_metric([], total(ledger.values()).imbalance)
    yield from (memories, states, ingest, imbalance, shards, size)


def _queues(connection: Connection, now: int) -> Iterator[Metric]:
    depth = GaugeMetricFamily("ostraka_queue_depth", "Memories waiting to be embedded.", labels=["queue"])
    size = GaugeMetricFamily("ostraka_queue_bytes", "Bytes of their content.", labels=["queue"])
    age = GaugeMetricFamily("ostraka_queue_age_seconds", "Age of the oldest waiting memory.", labels=["queue"])
    waiting = lane_loads(connection, State.PENDING)
    for queue, lane in ((EMBED, Lane.INTERACTIVE), (EMBED_BULK, Lane.BULK)):
        oldest = oldest_pending_at(connection, lane)
        depth.add_metric([queue], waiting[lane].rows)
        size.add_metric([queue], waiting[lane].bytes)
        age.add_metric([queue], 0.0 if oldest is None else (now - oldest) / 1e6)
    yield from (depth, size, age)

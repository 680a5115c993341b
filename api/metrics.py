"""Prometheus metrics of the API process; counts come from the record store at each scrape, so they cannot drift."""

from collections.abc import Iterator
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from core.clock import now_us
from core.pipeline.doorbell import EMBED, EMBED_BULK
from core.records.claims import count_pending
from core.records.reading import count_shards, count_states
from core.records.tables import Lane
from core.runtime import Runtime

_SEARCH_BUCKETS_S: Final = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class Metrics:
    """The process's registry."""

    def __init__(self, runtime: Runtime) -> None:
        self._registry = CollectorRegistry()
        self._searches = Counter("ostraka_searches", "Searches answered.", ["namespace"], registry=self._registry)
        self._seconds = Histogram(
            "ostraka_search_duration_seconds",
            "Time of a search, waiting included.",
            buckets=_SEARCH_BUCKETS_S,
            registry=self._registry,
        )
        self._registry.register(_Ledger(runtime))

    def observe_search(self, namespace: str, took_s: float) -> None:
        """Count a search of a namespace, named by its opaque id."""
        self._searches.labels(namespace).inc()
        self._seconds.observe(took_s)

    def expose(self) -> bytes:
        """Return the text format."""
        text: bytes = generate_latest(self._registry)
        return text


class _Ledger(Collector):
    """Gauges and totals counted from the record store."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def collect(self) -> Iterator[Metric]:
        """Yield the present counts."""
        memories = GaugeMetricFamily("ostraka_memories_total", "Memories not deleted.", labels=["namespace"])
        states = GaugeMetricFamily("ostraka_memory_states", "Rows by state.", labels=["namespace", "state"])
        ingest = GaugeMetricFamily("ostraka_ingest_total", "Rows ever accepted.", labels=["namespace"])
        shards = GaugeMetricFamily("ostraka_shards", "Live shards.", labels=["namespace"])
        size = GaugeMetricFamily("ostraka_shard_bytes", "Bytes of live shards.", labels=["namespace"])
        depth = GaugeMetricFamily("ostraka_queue_depth", "Memories waiting to be embedded.", labels=["queue"])
        age = GaugeMetricFamily("ostraka_queue_age_seconds", "Age of the oldest waiting memory.", labels=["queue"])
        waiting: dict[str, list[float]] = {EMBED: [0, 0.0], EMBED_BULK: [0, 0.0]}
        for company in self._runtime.control.companies():
            records = self._runtime.control.records(company.id)
            with records.database.read() as connection:
                for queue, lane in ((EMBED, Lane.INTERACTIVE), (EMBED_BULK, Lane.BULK)):
                    count, oldest = count_pending(connection, lane)
                    waiting[queue][0] += count
                    since = 0.0 if oldest is None else (now_us() - oldest) / 1e6
                    waiting[queue][1] = max(waiting[queue][1], since)
                for namespace in records.namespaces():
                    label = [namespace.public_id]
                    counts = count_states(connection, namespace.id)
                    live, size_bytes = count_shards(connection, namespace.id)
                    ingest.add_metric(label, sum(counts.values()))
                    memories.add_metric(label, sum(counts.values()) - counts["deleted"])
                    shards.add_metric(label, live)
                    size.add_metric(label, size_bytes)
                    for state, rows in counts.items():
                        states.add_metric([*label, state], rows)
        for queue, (pending, seconds) in waiting.items():
            depth.add_metric([queue], pending)
            age.add_metric([queue], seconds)
        failures = GaugeMetricFamily("ostraka_doorbell_failures", "Rings that Redis did not take.")
        failures.add_metric([], self._runtime.doorbell.failures)
        yield from (memories, states, ingest, shards, size, depth, age, failures)

"""What a process measures of its own work: how long, how often, how full. Stages tell it, `/metrics` shows it.

It knows no namespace, no company and no content; every label is one of a few words. An observation takes about a
microsecond and waits for nothing but another observation.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final, Literal, get_args

from prometheus_client import CollectorRegistry, Counter, Histogram

from core.observing.tracing import Tracer, Value
from core.records.tables import Lane

Stage = Literal["commit", "claim", "embed", "store", "build", "publish"]
QUEUE_LABELS: Final = {Lane.INTERACTIVE: "embed", Lane.BULK: "embed-bulk"}

_STAGE_BUCKETS_S: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0, 120.0)
_WAIT_BUCKETS_S: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1_800.0)
_FILL_BUCKETS: Final = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.999, 1.0)
_REQUESTS_BUCKETS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Observer:
    """The instruments of a process, in a registry of its own."""

    def __init__(self, tracer: Tracer | None = None) -> None:
        self.tracer = tracer or Tracer()
        self.registry = CollectorRegistry()
        seconds = Histogram(
            "ostraka_stage_duration_seconds",
            "Time that one run of a stage took in this process.",
            ["stage"],
            buckets=_STAGE_BUCKETS_S,
            registry=self.registry,
        )
        self._seconds = {stage: seconds.labels(stage) for stage in get_args(Stage)}
        self._requests = Histogram(
            "ostraka_group_commit_requests",
            "Requests that shared a commit.",
            buckets=_REQUESTS_BUCKETS,
            registry=self.registry,
        )
        self._fill = Histogram(
            "ostraka_batch_fill_ratio",
            "Rows of a claimed batch as a share of the most it takes.",
            ["queue"],
            buckets=_FILL_BUCKETS,
            registry=self.registry,
        )
        self._searchable = Histogram(
            "ostraka_searchable_after_seconds",
            "From the acceptance of the oldest row of a flush until it was searchable.",
            ["queue"],
            buckets=_WAIT_BUCKETS_S,
            registry=self.registry,
        )
        self._embedded = Counter("ostraka_embedded", "Memories embedded.", ["queue"], registry=self.registry)
        self._indexed = Counter("ostraka_indexed", "Memories made searchable.", ["queue"], registry=self.registry)
        self._failed = Counter("ostraka_rows_failed", "Memories that ended failed.", ["reason"], registry=self.registry)
        self._expired = Counter(
            "ostraka_lease_expiries",
            "Memories taken over from a worker whose claim ran out.",
            ["queue"],
            registry=self.registry,
        )
        self._late = Counter(
            "ostraka_late_results", "Memories whose result came too late.", ["queue"], registry=self.registry
        )
        self._overtaken = Counter(
            "ostraka_commits_overtaken", "Shards built in vain: the namespace had moved on.", registry=self.registry
        )
        for queue in QUEUE_LABELS.values():  # a rate needs the 0 that it began from
            for family in (self._fill, self._searchable, self._embedded, self._indexed, self._expired, self._late):
                family.labels(queue)

    @contextmanager
    def stage(
        self, stage: Stage, *, parent: str | None = None, links: Sequence[str] = (), **attributes: Value
    ) -> Iterator[None]:
        """Time a block, also one that fails, and make it a span."""
        started = time.perf_counter()
        try:
            with self.tracer.span(stage, parent=parent, links=links, **attributes):
                yield
        finally:
            self._seconds[stage].observe(time.perf_counter() - started)

    def committed(self, requests: int) -> None:
        """Note a group commit."""
        self._requests.observe(requests)

    def claimed(self, lane: Lane, rows: int, rows_max: int, expired: int) -> None:
        """Note a claim: how full its batch is, and how many of its rows another worker had let go."""
        queue = QUEUE_LABELS[lane]
        if rows:
            self._fill.labels(queue).observe(rows / rows_max)
        if expired:
            self._expired.labels(queue).inc(expired)

    def embedded(self, lane: Lane, rows: int, late: int) -> None:
        """Note what a batch came to: vectors stored, and results that another worker had been faster with."""
        queue = QUEUE_LABELS[lane]
        self._embedded.labels(queue).inc(rows)
        if late:
            self._late.labels(queue).inc(late)

    def indexed(self, lane: Lane, rows: int, waited_s: float) -> None:
        """Note a flush: its rows, and how long the oldest of them had waited since it was accepted."""
        queue = QUEUE_LABELS[lane]
        self._indexed.labels(queue).inc(rows)
        self._searchable.labels(queue).observe(max(0.0, waited_s))

    def failed(self, reason: str, rows: int) -> None:
        """Note rows that ended failed; ``reason`` is a stable code."""
        if rows:
            self._failed.labels(reason).inc(rows)

    def overtaken(self) -> None:
        """Note a shard that was built for a generation that was no more."""
        self._overtaken.inc()

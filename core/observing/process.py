"""One process in figures: its cache, its open snapshots, the disk it writes to, its rings, how it is."""

import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from core.errors import OstrakaError
from core.pipeline.checkups import Checkups
from core.pipeline.doorbell import Doorbell
from core.records.figures import read_generations

if TYPE_CHECKING:  # the scheduler has none, and is spared its libraries
    from core.runtime import Runtime


class HostFigures(Collector):
    """What a process sees of its surroundings: the disk of the data directory, and Redis."""

    def __init__(self, data: Path, doorbell: Doorbell) -> None:
        self._data = data
        self._doorbell = doorbell

    def describe(self) -> Iterator[Metric]:
        """Yield nothing: to register asks no disk."""
        yield from ()

    def collect(self) -> Iterator[Metric]:
        """Yield the present figures."""
        free = GaugeMetricFamily("ostraka_free_bytes", "Bytes free on the disk of the data directory.")
        free.add_metric([], shutil.disk_usage(self._data).free)
        failures = GaugeMetricFamily("ostraka_doorbell_failures", "Rings that Redis did not take.")
        failures.add_metric([], self._doorbell.failures)
        yield from (free, failures)


class ReadinessFigures(Collector):
    """What the last checkup found: nothing before there was one."""

    def __init__(self, checkups: Checkups) -> None:
        self._checkups = checkups

    def collect(self) -> Iterator[Metric]:
        """Yield whether all work can be done, and what is wrong."""
        if (checkup := self._checkups.seen) is None:
            return
        unready = any(reason.unready for reason in checkup.reasons)
        yield GaugeMetricFamily("ostraka_ready", "1 while all work can be done.", value=float(not unready))
        wrong = GaugeMetricFamily("ostraka_problem", "1 for each thing that is wrong.", labels=["code"])
        for reason in checkup.reasons:
            wrong.add_metric([reason.code], 1)
        yield wrong


class CacheFigures(Collector):
    """The host's cache of opened shards, as this process used it, and how far behind its snapshots are."""

    def __init__(self, runtime: "Runtime") -> None:
        self._runtime = runtime

    def describe(self) -> Iterator[Metric]:
        """Yield nothing: to register asks no store."""
        yield from ()

    def collect(self) -> Iterator[Metric]:
        """Yield the present figures."""
        cache = self._runtime.cache
        yield CounterMetricFamily("ostraka_cache_hits", "Shards found opened.", value=cache.hits)
        yield CounterMetricFamily("ostraka_cache_misses", "Shards that had to be opened.", value=cache.misses)
        yield CounterMetricFamily("ostraka_cache_evictions", "Shards dropped to make room.", value=cache.evictions)
        yield GaugeMetricFamily("ostraka_cache_bytes", "Bytes of opened shards.", value=cache.used_bytes())
        yield GaugeMetricFamily("ostraka_cache_bytes_max", "Bytes of them at most.", value=cache.bytes_max)
        yield GaugeMetricFamily(
            "ostraka_generation_lag", "Generations that an open snapshot is behind, at most.", value=self._lag()
        )

    def _lag(self) -> int:
        lag = 0
        for company in self._runtime.control.opened():
            tenant = self._runtime.opened(company)
            held = tenant.snapshots.generations() if tenant else {}
            if tenant and held:
                with suppress(OstrakaError), tenant.records.database.read() as connection:
                    newest = read_generations(connection)
                    lag = max(lag, *(newest.get(namespace, at) - at for namespace, at in held.items()))
        return lag

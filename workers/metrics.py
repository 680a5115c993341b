"""What a worker or scheduler knows of its own loops, for Prometheus."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from workers.pulse import Pulse


class LoopFigures(Collector):
    """The loops of a process, and how they turn."""

    def __init__(self, pulse: Pulse) -> None:
        self._pulse = pulse

    def collect(self) -> Iterator[Metric]:
        """Yield for how long each loop has been silent."""
        silent = GaugeMetricFamily("ostraka_loop_silent_seconds", "Time since a loop came round.", labels=["loop"])
        for name, seconds in self._pulse.silent_s().items():
            silent.add_metric([name], seconds)
        yield silent


def registry_of(*collectors: Collector) -> CollectorRegistry:
    """Return a registry of nothing but these."""
    registry = CollectorRegistry()
    for collector in collectors:
        registry.register(collector)
    return registry

"""What `/metrics` of a process shows beside what belongs to one company."""

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest

from core.observing.fleet import FleetFigures
from core.observing.process import CacheFigures, HostFigures
from core.runtime import Runtime


class Exposition:
    """The metrics of a process in the Prometheus text format: no namespace, no company, no content in them."""

    def __init__(self, runtime: Runtime) -> None:
        """Nothing is read before a scrape."""
        self._measured = runtime.observer.registry
        self._read = CollectorRegistry()
        for collector in (FleetFigures(runtime.control), CacheFigures(runtime)):
            self._read.register(collector)
        ProcessCollector(registry=self._read)  # open files, memory, processor time
        self._surroundings = CollectorRegistry()
        self._surroundings.register(HostFigures(runtime.control.root, runtime.doorbell))

    def of_process(self) -> bytes:
        """Return what the process measured, and what it read from the stores of all companies."""
        text: bytes = generate_latest(self._measured) + generate_latest(self._read)
        return text

    def of_worker(self) -> bytes:
        """Return the same with the process's surroundings, which an API process shows to every company."""
        text: bytes = self.of_process() + generate_latest(self._surroundings)
        return text

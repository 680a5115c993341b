"""Five thousand memories get new keys while two threads search and one writes; the figures are printed."""

import statistics
import threading
import time
from collections.abc import Callable

import pytest
import structlog

from core.pipeline import rotation
from core.records.tables import Lane
from tests.integration.pipeline.rotating import key_versions, rotate_master, rotate_namespace

log = structlog.get_logger()

pytestmark = pytest.mark.long_run

ROWS = 5_000


class Load:
    """Threads that work until they are told to stop; what each call took, and what went wrong."""

    def __init__(self) -> None:
        self.stop = threading.Event()
        self.took_ms: dict[str, list[float]] = {}
        self.failures: list[Exception] = []
        self._threads: list[threading.Thread] = []

    def run(self, name: str, call: Callable[[int], object]) -> None:
        times = self.took_ms.setdefault(name, [])

        def work() -> None:
            number = 0
            while not self.stop.is_set():
                started = time.perf_counter()
                try:
                    call(number)
                except Exception as error:  # noqa: BLE001 - whatever it raises fails the test
                    self.failures.append(error)
                    return
                times.append((time.perf_counter() - started) * 1e3)
                number += 1
                self.stop.wait(0.01)

        self._threads.append(threading.Thread(target=work))
        self._threads[-1].start()

    def end(self) -> str:
        self.stop.set()
        for thread in self._threads:
            thread.join()
        return ", ".join(
            f"{len(times)} {name} p50 {statistics.median(times):.1f} ms max {max(times):.0f} ms"
            for name, times in self.took_ms.items()
        )


def loaded(server, work: Callable[[], object]) -> tuple[float, str]:
    """Do something while others search and write; return how long it took, and what they saw."""
    load = Load()

    def find(number: int) -> None:
        assert f"m{number % ROWS}" in server.ids(f"Lantern {number % ROWS}", mode="text", limit=50)

    load.run("searches", find)
    load.run("searches", find)
    load.run("adds", lambda number: server.write({"id": f"n{number}", "content": f"Anchor {number}."}))
    started = time.perf_counter()
    work()
    took_s = time.perf_counter() - started
    figures = load.end()
    assert load.failures == []
    return took_s, figures


def test_keys_are_rotated_under_load(server):
    for start in range(0, ROWS, 1_000):
        items = ({"id": f"m{number}", "content": f"Lantern {number}."} for number in range(start, start + 1_000))
        server.write(*items, lane=Lane.BULK)
    server.clock.advance(20)
    server.settle()
    _, quiet = loaded(server, lambda: time.sleep(3))
    rotate_namespace(server)

    def follow() -> None:
        while key_versions(server) != [3]:
            if key_versions(server) == [2]:
                rotate_namespace(server)
            server.clock.advance(70)
            server.settle()
            server.maintain()

    namespace_s, while_namespace = loaded(server, follow)
    company_s, while_company = loaded(server, lambda: rotation.rotate_company(server.runtime.control, server.company))
    master_s, while_master = loaded(server, lambda: rotate_master(server))
    server.settle()
    for number in range(0, ROWS, 97):
        assert f"m{number}" in server.ids(f"Lantern {number}", mode="text", limit=50)
    server.check()
    log.info("searches_and_adds", during="no rotation", seen=quiet)
    log.info(
        "searches_and_adds", during=f"namespace, {ROWS} rows twice", took_s=round(namespace_s, 1), seen=while_namespace
    )
    log.info("searches_and_adds", during="company", took_s=round(company_s, 2), seen=while_company)
    log.info("searches_and_adds", during="master", took_s=round(master_s, 2), seen=while_master)

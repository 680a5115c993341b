"""Servers that are broken on purpose, and an auditor that counts what they kept."""

import base64
import os
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from core.settings import ENV_DATABASE_URL
from tests.conftest import SEED
from tests.fault.audit import Auditor
from tests.fault.disk import Disk
from tests.fault.loading import progress
from tests.fault.plan import Plan
from tests.fault.report import FaultRun, Report
from tests.fault.shim.control import Shim, build
from tests.fault.topology import Topology
from tests.fault.trial import Trial
from tests.integration.processes import Server, eventually

LEASE_S = "3"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what lies here: `make fault` runs it all, and from elsewhere what takes long."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker("fault")


@dataclass(frozen=True)
class Shimmed:
    """A topology under the shim, and what can be done to it."""

    trial: Trial
    shim: Shim
    disk: Disk


@pytest.fixture(scope="session")
def fault_run(pytestconfig: pytest.Config) -> FaultRun:
    """What `make fault` asked for; beside the other tests, the short run."""
    given = [plugin for plugin in pytestconfig.pluginmanager.get_plugins() if isinstance(plugin, FaultRun)]
    return given[0] if given else FaultRun(Plan(), SEED)


@pytest.fixture
def plan(fault_run: FaultRun) -> Plan:
    return fault_run.plan


@pytest.fixture
def report(fault_run: FaultRun) -> Report:
    return fault_run.report


@pytest.fixture(scope="session")
def bounds() -> dict[str, str]:
    """A short lease, and a master key that the auditor knows too."""
    key = base64.b64encode(os.urandom(32)).decode()
    return {"OSTRAKA_QUEUE__LEASE_S": LEASE_S, "OSTRAKA_QUEUE__RECONCILE_S": "0.5", "OSTRAKA_ENCRYPTION_KEY": key}


@pytest.fixture
def environment(bounds: dict[str, str], database_url: str) -> dict[str, str]:
    return bounds | {ENV_DATABASE_URL: database_url}


@pytest.fixture(scope="module")
def shared_environment(bounds: dict[str, str], shared_database_url: str) -> dict[str, str]:
    """The same, for what the tests of a module share."""
    return bounds | {ENV_DATABASE_URL: shared_database_url}


@pytest.fixture
def server(tmp_path: Path, environment: dict[str, str]) -> Iterator[Server]:
    server = Server(tmp_path, environment=environment)
    try:
        yield server.start()
        server.stop()
    finally:
        server.discard()


@pytest.fixture
def topology(tmp_path: Path, environment: dict[str, str]) -> Iterator[Topology]:
    topology = Topology(tmp_path, environment)
    try:
        yield topology.start()
        topology.stop()
    finally:
        topology.discard()


@pytest.fixture
def auditor(tmp_path: Path, environment: dict[str, str]) -> Iterator[Auditor]:
    auditor = Auditor(tmp_path / "data", environment)
    yield auditor
    auditor.close()


@pytest.fixture
def trial(topology: Topology, auditor: Auditor, report: Report, rng: random.Random) -> Trial:
    return Trial(topology, auditor, report, rng)


@pytest.fixture(scope="module")
def lasting(
    tmp_path_factory: pytest.TempPathFactory, shared_environment: dict[str, str], fault_run: FaultRun
) -> Iterator[Trial]:
    """Trials on one topology with one worker, which outlives every fault of a module."""
    folder = tmp_path_factory.mktemp("lasting")
    topology, auditor = Topology(folder, shared_environment), Auditor(folder / "data", shared_environment)
    try:
        topology.start().add_worker()
        topology.recover(time.monotonic())
        yield Trial(topology, auditor, fault_run.report, random.Random(SEED))
        topology.stop()
    finally:
        topology.discard()
        auditor.close()


@pytest.fixture(scope="session")
def shim_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("shim"))


@pytest.fixture(scope="module")
def shimmed(
    tmp_path_factory: pytest.TempPathFactory,
    shim_library: Path,
    shared_environment: dict[str, str],
    fault_run: FaultRun,
) -> Iterator[Shimmed]:
    """Trials on a topology whose processes run under the shim, with their data on a disk that can fill up."""
    folder = tmp_path_factory.mktemp("shimmed")
    shim = Shim(shim_library, folder / "data", folder / "page")
    disk = Disk(folder / "data", shim, real=fault_run.plan.long)
    topology = Topology(folder, shared_environment | shim.environment | {"OSTRAKA_STORAGE__FREE_BYTES_MIN": "0"})
    auditor = Auditor(folder / "data", shared_environment)
    try:
        topology.start().add_worker()
        topology.recover(time.monotonic())
        yield Shimmed(Trial(topology, auditor, fault_run.report, random.Random(SEED)), shim, disk)
        topology.stop()
    finally:
        topology.discard()
        auditor.close()
        disk.close()


@pytest.fixture
def started() -> Callable[[httpx.Client, str], None]:
    """Wait until some memories of a job are embedded, and make sure that not all are."""

    def wait(client: httpx.Client, job_id: str) -> None:
        job = eventually(lambda: (found := progress(client, job_id))["embedded"] and found, every_s=0.005)
        assert job["embedded"] < job["accepted"], "the load is too small to be caught in the middle"

    return wait


@pytest.fixture
def indexed() -> Callable[[httpx.Client, str], None]:
    """Wait for a job's end; every memory of it must be indexed."""

    def wait(client: httpx.Client, job_id: str) -> None:
        job = eventually(lambda: (found := progress(client, job_id))["finished_at"] and found)
        assert (job["state"], job["indexed"], job["failed"]) == ("indexed", job["accepted"], 0)

    return wait

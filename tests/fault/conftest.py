"""Servers that are broken on purpose, and an auditor that counts what they kept."""

import base64
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.fault.audit import Auditor
from tests.fault.loading import progress
from tests.fault.topology import Topology
from tests.integration.processes import Server, eventually

LEASE_S = "3"


@pytest.fixture
def environment() -> dict[str, str]:
    """A short lease, and a master key that the auditor knows too."""
    key = base64.b64encode(os.urandom(32)).decode()
    return {"OSTRAKA_QUEUE__LEASE_S": LEASE_S, "OSTRAKA_QUEUE__RECONCILE_S": "0.5", "OSTRAKA_ENCRYPTION_KEY": key}


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

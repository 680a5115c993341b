"""A backfill, and the server it writes to, killed in the middle: afterwards everything is there, once."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cli.backfill import chunks
from tests.integration.processes import Process, Server, eventually, free_port
from tests.stores import LONG_ON_POSTGRES

RECORD_STORES = LONG_ON_POSTGRES

pytestmark = pytest.mark.fault

CALL = chunks.ROWS_MAX


class Backfill(Process):
    """The command as a process of its own; it takes no data directory."""

    def __init__(self, server: Server, file, *flags: str) -> None:
        super().__init__(server.folder, "backfill", str(file), "--namespace", "n", "--url", server.url, *flags)
        self.arguments = self.arguments[:-2]
        self.journal = server.folder / "journal"
        self.arguments += ["--journal", str(self.journal), "--in-flight", "2"]

    def answered(self) -> int:
        """How many calls it has noted as answered."""
        return self.journal.read_text().count(" .\n") if self.journal.exists() else 0


@pytest.fixture
def server(tmp_path, environment):
    server = Server(tmp_path, "--port", str(free_port()), environment=environment)  # the same port after each start
    yield server.start()
    server.discard()


@pytest.fixture
def spawn(tmp_path, server):
    """Return how to start a backfill of so many calls, the same ones each time: rows without ids, with vectors.

    What is written twice would be there twice, and the model has nothing to do.
    """
    space = server.client.put("/v1/namespaces/n").json()["embedding"]
    started = []

    def start(calls: int) -> Backfill:
        path, rows = tmp_path / "f.parquet", calls * CALL
        if not path.exists():
            vectors = np.random.default_rng(1).standard_normal((rows, space["dim"]), np.float32)
            column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), space["dim"])
            pq.write_table(pa.table({"content": [f"note {row}" for row in range(rows)], "vector": column}), path)
        started.append(Backfill(server, path, "--fingerprint", space["fingerprint"]).spawn())
        return started[-1]

    yield start
    for each in started:
        each.discard()


def wait_for(backfill: Backfill, calls: int) -> None:
    eventually(lambda: backfill.answered() >= calls or backfill.returncode is not None, 150)


def check_everything_is_there_once(server: Server, calls: int) -> None:
    def settled():
        states = server.client.get("/v1/namespaces/n").json()["states"]
        return states if states["indexed"] == sum(states.values()) else None

    assert eventually(settled, 150)["indexed"] == calls * CALL  # no row twice, and no version of one
    jobs = server.client.get("/v1/jobs", params={"limit": 500}).json()["jobs"]
    assert [job["accepted"] for job in jobs] == [CALL] * calls


def test_a_backfill_killed_midway_goes_on_and_writes_everything_once(server, spawn):
    first = spawn(3)
    wait_for(first, 1)
    first.discard()
    last = spawn(3)
    assert last.wait() == 0, last.log.read_text()
    assert not last.journal.exists()
    check_everything_is_there_once(server, 3)


@pytest.mark.long_run
@pytest.mark.timeout(600)
def test_a_backfill_killed_again_and_again_writes_everything_once(server, spawn):
    for calls in (1, 2, 4):
        backfill = spawn(8)
        wait_for(backfill, calls)
        backfill.discard()
    last = spawn(8)
    assert last.wait() == 0, last.log.read_text()
    check_everything_is_there_once(server, 8)


@pytest.mark.long_run
@pytest.mark.timeout(600)
def test_a_backfill_whose_journal_is_lost_writes_everything_once(server, spawn):
    backfill = spawn(8)
    wait_for(backfill, 3)
    backfill.discard()
    backfill.journal.unlink(missing_ok=True)
    last = spawn(8)
    assert last.wait() == 0, last.log.read_text()
    check_everything_is_there_once(server, 8)


@pytest.mark.long_run
@pytest.mark.timeout(600)
def test_a_backfill_outlives_its_server(server, spawn):
    backfill = spawn(8)
    for calls in (1, 3):
        wait_for(backfill, calls)
        server.kill()
        server.start()
    assert backfill.wait() == 0, backfill.log.read_text()
    check_everything_is_there_once(server, 8)

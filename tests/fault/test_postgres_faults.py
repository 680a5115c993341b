"""PostgreSQL killed, restarted, cut off: nothing acknowledged is lost, and all goes on once it is back."""

import random
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from core.settings import ENV_DATABASE_URL
from tests.conftest import SEED
from tests.fault.audit import Auditor
from tests.fault.plan import Plan
from tests.fault.report import FaultRun
from tests.fault.topology import Topology
from tests.fault.trial import Trial
from tests.postgres_server import PostgresServer

AWAY_S = 0.7


@dataclass(frozen=True)
class OnPostgres:
    """A trial on a topology whose records lie in PostgreSQL, and the server of that."""

    trial: Trial
    server: PostgresServer

    def end_connections(self) -> None:
        """Let the server end every connection, as an administrator would."""
        self.server.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename LIKE 'owned%'")


@pytest.fixture(scope="module")
def on_postgres(
    tmp_path_factory: pytest.TempPathFactory, bounds: dict[str, str], fault_run: FaultRun
) -> Iterator[OnPostgres]:
    folder = tmp_path_factory.mktemp("postgres")
    server = PostgresServer(durable=True)
    here = bounds | {ENV_DATABASE_URL: server.own_database()}
    topology, auditor = Topology(folder, here), Auditor(folder / "data", here)
    try:
        topology.start().add_worker()
        topology.recover(time.monotonic())
        yield OnPostgres(Trial(topology, auditor, fault_run.report, random.Random(SEED)), server)
        topology.stop()
    finally:
        topology.discard()
        auditor.close()
        server.discard()


def take_away(on_postgres: OnPostgres, fault: str, end: Callable[[], None], times: int, away_s: float = AWAY_S) -> None:
    """End PostgreSQL under traffic and start it again; everything must recover and go on."""
    trial = on_postgres.trial
    with trial.under(fault) as traffic:
        for _ in range(times):
            end()
            traffic.run_for(away_s)
            since = time.monotonic()
            on_postgres.server.start()
            trial.recover(fault, since)
            trial.goes_on(traffic, AWAY_S)


def test_killed_while_everybody_writes(on_postgres: OnPostgres, plan: Plan):
    take_away(on_postgres, "PostgreSQL: kill -9", on_postgres.server.kill, plan.restarts)


def test_connections_ended(on_postgres: OnPostgres, plan: Plan):
    fault, trial = "PostgreSQL: connections ended", on_postgres.trial
    with trial.under(fault) as traffic:
        for _ in range(5 * plan.restarts):
            on_postgres.end_connections()
            trial.goes_on(traffic, AWAY_S / 5)
        trial.recover(fault)


@pytest.mark.long_run
def test_restarted(on_postgres: OnPostgres, plan: Plan):
    take_away(on_postgres, "PostgreSQL: restart", on_postgres.server.stop, plan.restarts)


@pytest.mark.long_run
def test_away_for_longer_than_anybody_waits(on_postgres: OnPostgres):
    take_away(on_postgres, "PostgreSQL: away", on_postgres.server.stop, times=1, away_s=12)


@pytest.mark.long_run
def test_a_worker_stands_still_and_goes_on(on_postgres: OnPostgres):
    """Its claims run out and others take them; what it does when it goes on is worth nothing."""
    fault, trial = "PostgreSQL: paused worker", on_postgres.trial
    trial.topology.add_worker()
    with trial.under(fault) as traffic:
        paused = trial.topology.workers[0]
        paused.send(signal.SIGSTOP)
        try:
            trial.goes_on(traffic, 8)  # longer than its leases hold; what it holds of the store, the server ends
        finally:
            paused.send(signal.SIGCONT)
        trial.recover(fault)
        trial.goes_on(traffic, AWAY_S)

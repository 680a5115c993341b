"""A real PgBouncer between us and the server: fewer connections than clients, and no session that is ours."""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest

from core.records.claims import claim_pending
from core.records.control import open_control
from core.records.deletion import delete_memory
from core.records.ledger import audit_ledger, read_ledger
from core.records.tables import Lane
from core.settings import Settings, load_settings
from tests.integration.processes import END_S, eventually
from tests.integration.records.conftest import Desk, ManualClock
from tests.postgres_server import PostgresServer, name_of
from tests.programs import environment_of, program

CONNECTIONS = {"transaction": 3, "session": 8}  # to the server
THREADS = 8
TURNS = 15


class Pooler:
    """A PgBouncer on a Unix socket, in front of one database."""

    def __init__(self, postgres: PostgresServer, database_url: str, mode: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="ostraka-pgb-"))  # short, as a socket's path must be
        database = name_of(database_url)
        host = parse_qs(urlsplit(database_url).query)["host"][0]
        settings = {
            "listen_port": 6432,
            "unix_socket_dir": self.folder,
            "auth_type": "any",
            "pool_mode": mode,
            "default_pool_size": CONNECTIONS[mode],
        }
        lines = ["[databases]", f"{database} = host={host} user=postgres", "[pgbouncer]"]
        lines += [f"{name} = {value}" for name, value in settings.items()]
        (self.folder / "pgbouncer.ini").write_text("\n".join([*lines, ""]))
        if postgres.user:  # root may not run it
            for path in (self.folder, *self.folder.iterdir()):
                shutil.chown(path, postgres.user, postgres.user)
        found = program("pgbouncer")
        with (self.folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                [found, str(self.folder / "pgbouncer.ini")],
                user=postgres.user,
                env=environment_of(found),
                stdout=log,
                stderr=log,
            )
        self.url = f"postgresql://postgres@/{database}?host={self.folder}&port=6432"
        eventually(self._answers)

    def _answers(self) -> bool:
        assert self.process.poll() is None, (self.folder / "log").read_text()
        try:
            psycopg.connect(self.url, connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True

    def discard(self) -> None:
        self.process.kill()
        self.process.wait(END_S)
        shutil.rmtree(self.folder)


@pytest.fixture(params=list(CONNECTIONS))
def mode(request) -> str:
    return request.param


@pytest.fixture
def pooled(mode: str, postgres: PostgresServer, postgres_url: str, tmp_path: Path) -> Iterator[Settings]:
    pooler = Pooler(postgres, postgres_url, mode)
    storage = {
        "path": str(tmp_path / "data"),
        "database_url": pooler.url,
        "database_prepare": mode == "session",  # this release does not carry prepared statements over
        "database_connections": CONNECTIONS["session"],
    }
    try:
        yield load_settings(None, {"storage": storage})
    finally:
        pooler.discard()


def test_threads_share_few_connections(pooled, mode, postgres, postgres_url):
    store = open_control(pooled, clock=ManualClock())
    desk = Desk(store.records(store.companies()[0].id), store.clock)
    records = desk.records

    def work(place: int) -> None:
        namespace = desk.namespace(f"n{place % 2}")
        for turn in range(TURNS):
            name = f"m{place}-{turn}"
            desk.write({"id": name, "content": "a"}, namespace=namespace.name)
            with records.database.write(shared=True) as connection:
                claim = claim_pending(
                    connection, Lane.INTERACTIVE, now=desk.clock(), lease_us=60_000_000, limit=3, attempts_max=9
                )
            desk.store(claim.token, [row.id for row in claim.rows])
            if turn % 5 == 0:
                delete_memory(records, namespace, name)

    try:
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(work, range(THREADS)))
        desk.embed()
        counts = [len(desk.flush(desk.namespace(name))) for name in ("n0", "n1")]
        with records.database.read() as connection:
            ledger = read_ledger(connection)
            assert ledger == audit_ledger(connection)
        opened = postgres.run("SELECT count(*) FROM pg_stat_activity WHERE datname = '" + name_of(postgres_url) + "'")
    finally:
        store.close()

    assert sum(counts) == THREADS * TURNS - THREADS * len(range(0, TURNS, 5))
    assert {balance.imbalance for balance in ledger.values()} == {0}
    assert 1 <= opened[0][0] <= CONNECTIONS[mode]

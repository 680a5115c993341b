"""A standby takes over: what was acknowledged is there, and writers go on by themselves."""

from collections.abc import Iterator

import pytest

from core.errors import Interrupted, Unavailable
from core.pipeline.groupcommit import GroupCommitter
from core.records.control import open_control
from core.records.places import open_place
from core.settings import Settings, load_settings
from tests.integration.processes import eventually
from tests.integration.records.conftest import Desk, ManualClock
from tests.postgres_server import PostgresServer

pytestmark = pytest.mark.long_run

DATABASE = "followed"


@pytest.fixture
def primary() -> Iterator[PostgresServer]:
    server = PostgresServer(durable=True)
    server.run("CREATE DATABASE {}", DATABASE)
    yield server
    server.discard()


@pytest.fixture
def standby(primary: PostgresServer) -> Iterator[PostgresServer]:
    """One without which nothing is acknowledged."""
    server = PostgresServer(durable=True, following=primary)
    primary.run("ALTER SYSTEM SET synchronous_standby_names = '*'")
    primary.run("SELECT pg_reload_conf()")
    eventually(lambda: primary.run("SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync'"))
    yield server
    server.discard()


@pytest.fixture
def settings(tmp_path, primary: PostgresServer, standby: PostgresServer) -> Settings:
    hosts = f"{primary.folder / 'data'},{standby.folder / 'data'}"
    url = f"postgresql://postgres@/{DATABASE}?host={hosts}&target_session_attrs=read-write"
    return load_settings(None, {"storage": {"path": str(tmp_path / "data"), "database_url": url}})


@pytest.fixture
def desk(settings: Settings, clock: ManualClock) -> Iterator[Desk]:
    control = open_control(settings, clock=clock)
    yield Desk(control.records(control.companies()[0].id), clock)
    control.close()


def test_what_was_acknowledged_survives_the_primary(desk: Desk, primary: PostgresServer, standby: PostgresServer):
    committer = GroupCommitter(desk.records.database, desk.clock, lambda *_: None)

    def add(number: int) -> str | None:
        """Add a memory; return its id once it is acknowledged."""
        request = desk.request({"id": f"m{number}", "content": "text"})
        try:
            return committer.submit(request).result(60).ids[0]
        except Unavailable:
            return None

    acknowledged = [add(number) for number in range(50)]
    primary.kill()
    refused = add(50)
    standby.run("SELECT pg_promote()")
    after = eventually(lambda: add(51))
    acknowledged += [add(number) for number in range(52, 60)]
    committer.close()
    assert None not in acknowledged
    assert (refused, after) == (None, "m51")
    kept = {row.handle for row in desk.rows(desk.namespace())}
    wanted = {desk.namespace().key.handle("memory", name) for name in [*acknowledged, after] if name}
    assert wanted <= kept


def test_a_standby_answers_readers_and_is_away_for_writers(
    desk: Desk, standby: PostgresServer, settings: Settings, clock: ManualClock
):
    desk.write("one")
    url = standby.url(DATABASE)
    storage = settings.storage.model_copy(update={"database_url": url})
    place = open_place(storage, {})
    database = place.open("company", clock, desk.records.company)
    with database.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM memories").scalar_one() == 1
    with pytest.raises(Interrupted), database.write():
        pass
    place.close()

"""A store moved beside its server, while the mover and PostgreSQL are killed: what was acknowledged is there, once."""

from contextlib import closing

import httpx
import pytest

from core.audit.verification import verify_log
from core.records.control import open_control
from tests.fault.loading import load
from tests.integration.moves import Move, check_equal, settings_for
from tests.integration.processes import Server, eventually
from tests.postgres_server import PostgresServer

pytestmark = pytest.mark.long_run

ROWS = 6_000
KILLS = 6


@pytest.fixture
def server(tmp_path, environment):
    """One that stops in the middle of the test."""
    server = Server(tmp_path, environment=environment)
    try:
        yield server.start()
    finally:
        server.discard()


@pytest.fixture
def postgres():
    """One that may be killed: it syncs what it acknowledges."""
    server = PostgresServer(durable=True)
    yield server
    server.discard()


def test_every_acknowledged_write_is_in_postgresql(server, postgres, tmp_path, environment, rng):
    url = postgres.new_database()
    for first in range(0, ROWS, 2_000):
        load(server.client, 2_000, first)
    [company] = [folder.name for folder in (server.data / "companies").iterdir()]
    reached = 0
    for number in range(KILLS):
        reached = min(ROWS, reached + rng.randrange(1, 2 * ROWS // KILLS))
        move = Move(tmp_path, url, environment).spawn()
        move.reach(company, reached)
        if number % 2:
            postgres.kill()
            postgres.start()
            move.reach(company, min(ROWS, reached + 1_000))
        move.kill()
        assert server.client.post("/v1/memory", json={"namespace": "audited", "content": "late"}).status_code == 503
        question = {"namespace": "audited", "query": "word7x", "mode": "text"}
        assert server.client.post("/v1/memory/search", json=question).status_code == 200
    move = Move(tmp_path, url, environment).spawn()
    assert move.wait() == 0 or "holds this store already" in move.log.read_text()
    server.stop()
    files, moved = (open_control(settings_for(tmp_path, each), environment) for each in ("", url))
    with closing(files), closing(moved):
        assert check_equal(files, moved.place, ["company"]) > ROWS
        assert verify_log(moved.audit).holds
    successor = Server(tmp_path, environment=environment | {"OSTRAKA_STORAGE__DATABASE_URL": url})
    try:
        client = successor.start().client
        assert listed(client) == [f"m{number}" for number in range(ROWS)]
        more = {"namespace": "after", "id": "new", "content": "After the move came a tram."}
        assert client.post("/v1/memory", params={"wait": "true"}, json=more).status_code in {201, 202}
        question = {"namespace": "after", "query": "tram"}
        eventually(lambda: client.post("/v1/memory/search", json=question).json().get("results"))
        successor.stop()
    finally:
        successor.discard()


def listed(client: httpx.Client) -> list[str]:
    """Return the id of each memory, in order."""
    seen, cursor = [], ""
    while cursor is not None:
        params = {"namespace": "audited", "limit": 500} | ({"cursor": cursor} if cursor else {})
        page = client.get("/v1/memory", params=params).json()
        seen += [memory["id"] for memory in page["memories"]]
        cursor = page["next_cursor"]
    return seen

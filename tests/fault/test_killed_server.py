"""kill -9 of the whole server: its children die with it, and every acknowledged write is there afterwards, once."""

from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.fault.loading import found_once, load
from tests.integration.processes import Server, eventually
from tests.stores import BOTH

RECORD_STORES = BOTH

pytestmark = pytest.mark.long_run


@pytest.fixture
def server(tmp_path, environment):
    """One that is killed, so that nobody checks how it stops; its successor stops in order."""
    server = Server(tmp_path, environment=environment)
    try:
        yield server.start()
    finally:
        server.discard()


def test_acknowledged_writes_survive(server, tmp_path, environment, auditor, report):
    load(server.client, 500)
    acknowledged: list[str] = []

    def write(number: int) -> None:
        body = {"namespace": "singles", "id": f"s{number}", "content": f"single{number}x"}
        with httpx.Client(base_url=server.url, timeout=30) as client:
            if client.post("/v1/memory", json=body).status_code == 202:
                acknowledged.append(body["id"])

    def write_all() -> None:
        with ThreadPoolExecutor(8) as pool:
            for future in [pool.submit(write, number) for number in range(400)]:
                if (error := future.exception()) is not None:
                    assert isinstance(error, httpx.TransportError)

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write_all)
        eventually(lambda: len(acknowledged) > 40)
        server.kill()
        writing.result()
    assert len(acknowledged) < 400

    successor = Server(tmp_path, environment=environment)
    try:
        client = successor.start().client
        eventually(lambda: set(auditor.states()) == {"indexed"})
        found_once(client, 500)
        listed = client.get("/v1/memory", params={"namespace": "singles", "limit": 500}).json()["memories"]
        ids = [memory["id"] for memory in listed]
        assert len(ids) == len(set(ids))
        assert set(acknowledged) <= set(ids)
        for name in acknowledged[-10:]:
            body = {"namespace": "singles", "query": f"single{name[1:]}x", "mode": "text"}
            assert [hit["id"] for hit in client.post("/v1/memory/search", json=body).json()["results"]] == [name]
        successor.stop()
    finally:
        successor.discard()
    auditor.check_shards(500)
    report.survived("kill -9: serve with its children", 500 + len(acknowledged))

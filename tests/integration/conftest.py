"""One real server for the whole run: API, worker and Redis as ``ostraka serve`` starts them."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.integration.processes import Server, eventually

_numbers = itertools.count()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("server"))
    try:
        yield server.start()
        server.stop()
    finally:
        server.discard()


@pytest.fixture
def client(server: Server) -> httpx.Client:
    return server.client


@pytest.fixture
def namespace() -> str:
    """A name that no other test uses."""
    return f"ns-{next(_numbers)}"


@pytest.fixture
def server_folder(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Make servers of this test's own on one data directory; whatever happens they end with the test."""
    made: list[Server] = []

    def make(*flags: str, **settings: Any) -> Server:
        made.append(Server(tmp_path, *flags, **settings))
        return made[-1]

    yield make
    for server in made:
        server.discard()


@pytest.fixture
def remember(client: httpx.Client, namespace: str) -> Callable[..., dict[str, Any]]:
    """Add one memory and return the answer once it is searchable."""

    def add(content: str, **fields: Any) -> dict[str, Any]:
        response = client.post(
            "/v1/memory", params={"wait": True}, json={"namespace": namespace, "content": content} | fields
        )
        assert response.status_code == 201, response.text
        return response.json()

    return add


@pytest.fixture
def find(client: httpx.Client, namespace: str) -> Callable[..., list[dict[str, Any]]]:
    """Search by body and return the results."""

    def search(query: str, **fields: Any) -> list[dict[str, Any]]:
        response = client.post("/v1/memory/search", json={"namespace": namespace, "query": query} | fields)
        assert response.status_code == 200, response.text
        return response.json()["results"]

    return search


@pytest.fixture
def finished(client: httpx.Client) -> Callable[[str], dict[str, Any]]:
    """Wait for a job's end and return it."""

    def wait(job_id: str) -> dict[str, Any]:
        def look() -> dict[str, Any] | None:
            job = client.get(f"/v1/jobs/{job_id}").json()
            return job if job["finished_at"] else None

        return eventually(look)

    return wait

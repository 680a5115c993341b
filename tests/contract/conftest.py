"""A running server and the contract it publishes."""

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis

from tests.integration.processes import Server


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("contract"))
    try:
        yield server.start()
        server.stop()
    finally:
        server.discard()


@pytest.fixture(scope="session")
def openapi(server: Server) -> dict[str, Any]:
    return server.client.get("/openapi.json").json()


@pytest.fixture(scope="session")
def contract(server: Server) -> Any:
    return schemathesis.openapi.from_url(f"{server.url}/openapi.json")

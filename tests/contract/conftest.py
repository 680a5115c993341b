"""A running server and the contract it publishes."""

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis

from tests.integration.processes import Server


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that asks for a key: one operation makes keys, and with the first one every call needs one."""
    server = Server(tmp_path_factory.mktemp("contract"), environment={"OSTRAKA_AUTH__FAILURES_PER_MINUTE": "100000"})
    try:
        server.start()
        everything = {"scopes": ["read", "write", "admin"], "namespaces": ["*"]}
        key = server.client.post("/admin/keys", json=everything).json()["key"]
        server.client.headers["x-api-key"] = key
        yield server
        server.stop()
    finally:
        server.discard()


@pytest.fixture(scope="session")
def openapi(server: Server) -> dict[str, Any]:
    return server.client.get("/openapi.json").json()


@pytest.fixture(scope="session")
def contract(server: Server) -> Any:
    return schemathesis.openapi.from_url(f"{server.url}/openapi.json")

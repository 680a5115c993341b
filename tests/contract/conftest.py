"""A running server and the contract it publishes."""

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis

from core.settings import ENV_DATABASE_URL
from tests.integration.processes import Server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, shared_database_url: str) -> Iterator[Server]:
    """A server that asks for a key: one operation makes keys, and with the first one every call needs one."""
    environment = {ENV_DATABASE_URL: shared_database_url, "OSTRAKA_AUTH__FAILURES_PER_MINUTE": "100000"}
    server = Server(tmp_path_factory.mktemp("contract"), environment=environment)
    try:
        server.start()
        everything = {"scopes": ["read", "write", "admin"], "namespaces": ["*"]}
        key = server.client.post("/admin/keys", json=everything).json()["key"]
        server.client.headers["x-api-key"] = key
        yield server
        server.stop()
    finally:
        server.discard()


@pytest.fixture(scope="module")
def openapi(server: Server) -> dict[str, Any]:
    return server.client.get("/openapi.json").json()


@pytest.fixture(scope="module")
def contract(server: Server) -> Any:
    loaded = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
    refusals = loaded.config.checks.negative_data_rejection
    refusals.expected_statuses = [*refusals.expected_statuses, "414"]  # a URL that is too long is not looked into
    return loaded

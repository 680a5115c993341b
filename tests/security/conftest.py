"""What the tests of security share: a Redis of a test's own, a server in this process with tenants on it."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.private_redis import start_private_redis
from cli.supervisor import Supervisor
from core import runtime as composition
from core.embedding.runtime import Embedder
from tests.commands import keep_private
from tests.conftest import SEED
from tests.security.inprocess import InProcess
from tests.security.tenants import COMPANIES, Caller, World


@pytest.fixture
def private_redis(tmp_path: Path) -> Iterator[Path]:
    """The socket of a Redis started as the server starts its own."""
    supervisor = Supervisor()
    try:
        yield Path(start_private_redis(supervisor, tmp_path).removeprefix("redis+socket://"))
    finally:
        supervisor.close()


@pytest.fixture(scope="module")
def inside(
    tmp_path_factory: pytest.TempPathFactory, embedder: Embedder, shared_database_url: str
) -> Iterator[InProcess]:
    """The application in this process, with the session's model."""
    folder = tmp_path_factory.mktemp("inside")
    with pytest.MonkeyPatch.context() as patch:
        keep_private(patch, folder)
        patch.setattr(composition, "open_embedder", lambda *_: embedder)
        patch.setattr(Embedder, "close", lambda _: None)
        with InProcess(folder, shared_database_url) as opened:
            yield opened


@pytest.fixture(scope="module")
def world(inside: InProcess) -> World:
    """Three companies with what they own, and their credentials, dead ones among them."""
    dead = [Caller(make(company), company, dead=True) for make in inside.dead_keys for company in COMPANIES]
    made = World(inside.client, random.Random(SEED), inside.make_key)
    made.callers += dead
    inside.settle()
    return made

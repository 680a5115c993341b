"""Fixtures every tier shares: the real model, throw-away stores, seeded randomness."""

import os
import random
import shutil
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
import structlog
from hypothesis import HealthCheck, settings

from core.embedding.catalogue import lookup
from core.embedding.models import default_models_dir, ensure_model
from core.embedding.runtime import Embedder
from core.records.control import ControlStore, open_control
from core.settings import Settings, load_settings
from tests.object_store import Bucket, ObjectStore, object_store
from tests.postgres_server import PostgresServer
from tests.stores import SQLITE, choose

SEED = int(os.environ.get("OSTRAKA_TEST_SEED", "20261122"))

settings.register_profile("ostraka", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ostraka")


def pytest_report_header() -> str:
    return f"seed: {SEED} (OSTRAKA_TEST_SEED chooses another)"


@pytest.fixture
def rng() -> random.Random:
    return random.Random(SEED)


@pytest.fixture(scope="session")
def model_dir() -> Path:
    return ensure_model(lookup("all-MiniLM-L6-v2"), default_models_dir())


@pytest.fixture(scope="session")
def embedder(model_dir: Path) -> Iterator[Embedder]:
    opened = Embedder(model_dir)
    yield opened
    opened.close()


@pytest.fixture(autouse=True)
def _private_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No test reads or writes the developer's own keys or settings."""
    for name in [name for name in os.environ if name.startswith("OSTRAKA_") and name != "OSTRAKA_MODELS_DIR"]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    yield
    structlog.reset_defaults()  # a command run in this process may have sent the logs to a stream that is closed now


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """One server for all tests of a process; each takes a database of its own."""
    server = PostgresServer()
    yield server
    server.discard()


@pytest.fixture
def postgres_url(postgres: PostgresServer) -> Iterator[str]:
    """The address of an empty database."""
    url = postgres.new_database()
    yield url
    postgres.drop(url)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if not metafunc.definition.path.is_relative_to(Path(__file__).parent / "integration" / "records"):
        choose(metafunc, SQLITE)


@pytest.fixture(scope="session")
def s3() -> Iterator[ObjectStore]:
    with object_store() as store:
        yield store


@pytest.fixture
def bucket(s3: ObjectStore) -> Bucket:
    """A new, empty bucket."""
    return s3.bucket()


@pytest.fixture(scope="module")
def record_store(request: pytest.FixtureRequest) -> str:
    """Where a test's records are: in files, unless the test asks for ``tests.stores``."""
    return getattr(request, "param", "sqlite")


@pytest.fixture
def database_url(record_store: str, request: pytest.FixtureRequest) -> str:
    """The address of a database of the test's own; empty where its records are in files."""
    return request.getfixturevalue("postgres_url") if record_store == "postgres" else ""


@pytest.fixture(scope="module")
def shared_database_url(record_store: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """The same, for what the tests of a module share."""
    if record_store != "postgres":
        yield ""
        return
    server = request.getfixturevalue("postgres")
    url = server.new_database()
    yield url
    server.drop(url)


@pytest.fixture
def bare_settings(tmp_path: Path, database_url: str) -> Settings:
    """The settings of a store that is yet to be made."""
    return load_settings(None, {"storage": {"path": str(tmp_path / "data"), "database_url": database_url}})


@pytest.fixture
def server_settings(bare_settings: Settings) -> Settings:
    return bare_settings


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Callable[[str], Settings]:
    """Return the settings of a store of one company, made once on each kind: to copy it takes less than to make one."""

    @cache
    def make(record_store: str) -> Settings:
        folder = tmp_path_factory.mktemp("original")
        url = request.getfixturevalue("postgres").new_database() if record_store == "postgres" else ""
        settings = load_settings(None, {"storage": {"path": str(folder / "data"), "database_url": url}})
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
            made = open_control(settings, clock=lambda: 1_700_000_000_000_000)  # when clocks of tests begin
            made.records(made.companies()[0].id)
            made.close()
        return settings

    return make


@pytest.fixture
def copied_settings(
    original: Callable[[str], Settings], record_store: str, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Settings]:
    """The settings of a store of one company, and its master key where this test looks for it."""
    made = original(record_store).storage
    shutil.copytree(made.path.parent, tmp_path, dirs_exist_ok=True)
    server = request.getfixturevalue("postgres") if made.database_url else None
    url = server.new_database(of=made.database_url) if server else ""
    yield load_settings(None, {"storage": {"path": str(tmp_path / "data"), "database_url": url}})
    if server:
        server.drop(url)


@pytest.fixture
def control(server_settings: Settings) -> Iterator[ControlStore]:
    opened = open_control(server_settings)
    yield opened
    opened.close()

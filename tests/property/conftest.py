"""Stores for machines: each example gets one of its own."""

import itertools
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from core.settings import Settings, load_settings
from tests.postgres_server import PostgresServer

LendStore = Callable[[], AbstractContextManager[Settings]]


@pytest.fixture
def lend_store(copied_settings: Settings, tmp_path: Path, request: pytest.FixtureRequest) -> LendStore:
    """Lend a store of one company, of a kind that the test's module chooses, for as long as a block runs."""
    template = copied_settings.storage
    server: PostgresServer | None = request.getfixturevalue("postgres") if template.database_url else None
    numbers = itertools.count()

    @contextmanager
    def lend() -> Iterator[Settings]:
        folder = tmp_path / f"copy-{next(numbers)}"
        shutil.copytree(template.path, folder)
        url = server.new_database(of=template.database_url) if server else ""
        try:
            yield load_settings(None, {"storage": {"path": str(folder), "database_url": url}})
        finally:
            shutil.rmtree(folder)
            if server:
                server.drop(url)

    return lend

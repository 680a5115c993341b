"""Caches of a test's own, in memory as the real one."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from core.shards.cache import ShardCache

MEMORY = Path("/dev/shm")


@pytest.fixture
def base() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="ostraka-test-", dir=MEMORY))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def data(tmp_path) -> Path:
    made = tmp_path / "data"
    made.mkdir()
    return made


@pytest.fixture
def join(base, data) -> Iterator[Callable[..., ShardCache]]:
    joined = []

    def make(bytes_max: int = 2**30) -> ShardCache:
        joined.append(ShardCache(base, data, bytes_max))
        return joined[-1]

    yield make
    for cache in joined:
        cache.close()

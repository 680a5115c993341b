"""The blob seam over both of its stores, and over an object store that misbehaves."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from core.settings import load_settings
from core.shards.blobs import Blobs
from core.shards.depot import Depot, open_depot
from tests.faulty_proxy import FaultyProxy, faulty_proxy
from tests.object_store import Bucket, ObjectStore

COMPANY = "co_a"


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the provider's own variables say who we are."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "tester")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-a-secret")


@pytest.fixture
def depot_at(tmp_path: Path) -> Callable[[dict[str, Any]], Depot]:
    """Open a depot as ``[storage]`` says."""

    def open_it(storage: dict[str, Any]) -> Depot:
        return open_depot(load_settings(None, {"storage": {"path": tmp_path, **storage}}).storage, tmp_path)

    return open_it


@pytest.fixture(params=["local", "s3"])
def reopen(request: pytest.FixtureRequest, depot_at: Callable[[dict[str, Any]], Depot]) -> Callable[[], Blobs]:
    """Open the blobs of a company, as each process does for itself."""
    storage = request.getfixturevalue("bucket").settings() if request.param == "s3" else {}
    return lambda: depot_at(storage).of(COMPANY)


@pytest.fixture
def blobs(reopen: Callable[[], Blobs]) -> Blobs:
    return reopen()


@pytest.fixture
def proxy(s3: ObjectStore) -> Iterator[FaultyProxy]:
    with faulty_proxy(s3.address) as proxy:
        yield proxy


@pytest.fixture
def blobs_behind(
    proxy: FaultyProxy, bucket: Bucket, depot_at: Callable[[dict[str, Any]], Depot]
) -> Callable[..., Blobs]:
    """Open the blobs of a company in a bucket that is reached through the proxy."""
    return lambda **options: depot_at(bucket.settings(proxy.url, **options)).of(COMPANY)

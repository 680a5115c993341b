"""Mapping arrays, by many threads at once."""

import gc
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from core.shards.arrays import map_array


def test_a_mapped_array_is_what_was_saved_and_cannot_be_changed(tmp_path):
    saved = np.arange(12, dtype=np.uint32).reshape(3, 4)
    np.save(tmp_path / "a.npy", saved)

    mapped = map_array(tmp_path / "a.npy")

    assert type(mapped) is np.ndarray
    assert np.array_equal(mapped, saved)
    with pytest.raises(ValueError, match="read-only"):
        mapped[0, 0] = 1


@pytest.fixture
def busy_collector() -> Iterator[None]:
    """Run Python code in each of very many garbage collections, at which other threads may come in."""
    threshold, interval = gc.get_threshold(), sys.getswitchinterval()

    def dally(*_: object) -> None:
        sum(range(50))

    gc.callbacks.append(dally)
    gc.set_threshold(20)
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)
    gc.set_threshold(*threshold)
    gc.callbacks.remove(dally)


@pytest.mark.usefixtures("busy_collector")
def test_many_threads_map_at_once(tmp_path):
    """Without the lock, some hundred of 160,000 fail here."""
    np.save(tmp_path / "a.npy", np.zeros((9, 17), np.uint32))

    def map_often(_: int) -> int:
        return sum(map_array(tmp_path / "a.npy").shape == (9, 17) for _ in range(1_000))

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(map_often, range(8))) == [1_000] * 8

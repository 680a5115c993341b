import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from core.errors import ConfigurationError, IntegrityError, Unavailable
from core.shards.cache import ShardCache, in_memory

MEMORY = Path("/dev/shm")


def filler(size: int = 100) -> Callable[[Path], None]:
    def fill(folder: Path) -> None:
        (folder / "file").write_bytes(bytes(size))

    return fill


def never(folder: Path) -> None:
    raise AssertionError(f"{folder} was filled again")


# --- opening ------------------------------------------------------------------------------------------


def test_a_shard_is_filled_once_and_then_found(join):
    cache = join()
    folder = cache.open("sh_a", filler())
    assert (folder / "file").stat().st_size == 100
    assert cache.open("sh_a", never) == folder
    assert cache.used_bytes() == 100


def test_a_dropped_shard_is_filled_anew(join):
    cache = join()
    cache.open("sh_a", filler())
    cache.drop("sh_a")
    cache.drop("sh_a")
    assert (cache.open("sh_a", filler(7)) / "file").stat().st_size == 7


def test_pages_in_use_outlive_a_drop(join):
    cache = join()
    with (cache.open("sh_a", filler()) / "file").open("rb") as held:
        cache.drop("sh_a")
        assert held.read() == bytes(100)


def test_a_failed_fill_leaves_nothing_and_can_be_tried_again(join):
    cache = join()

    def half(folder: Path) -> None:
        (folder / "half").write_bytes(b"plaintext")
        raise IntegrityError("a sealed file failed authentication")

    with pytest.raises(IntegrityError):
        cache.open("sh_a", half)
    assert [path for path in cache.root.rglob("*") if path.is_file() and path.suffix not in {".lock", ".alive"}] == []
    assert (cache.open("sh_a", filler()) / "file").exists()


def test_a_full_tmpfs_is_unavailable_and_leaves_nothing(join):
    cache = join()

    def full(folder: Path) -> None:
        (folder / "half").write_bytes(b"plaintext")
        raise OSError(28, "No space left on device")

    with pytest.raises(Unavailable, match="No space left") as refused:
        cache.open("sh_a", full)
    assert refused.value.reason == "cache_full"
    assert cache.used_bytes() == 0


def test_threads_that_ask_at_once_fill_once(join):
    cache = join()
    together, fills = threading.Barrier(8), []

    def slow(folder: Path) -> None:
        fills.append(folder)
        (folder / "file").write_bytes(bytes(200_000))

    def ask(_: int) -> Path:
        together.wait()
        return cache.open("sh_a", slow)

    with ThreadPoolExecutor(8) as pool:
        folders = set(pool.map(ask, range(8)))
    assert len(folders) == len(fills) == 1


def test_adopting_makes_a_built_shard_an_opened_one(join):
    cache = join()
    with cache.workspace() as workspace:
        built = workspace / "sh_a"
        built.mkdir()
        (built / "file").write_bytes(b"built here")
        cache.adopt("sh_a", built)
    assert (cache.open("sh_a", never) / "file").read_bytes() == b"built here"


def test_a_workspace_is_gone_afterwards_whatever_happened(join):
    cache = join()
    left = []

    def work() -> None:
        with cache.workspace() as workspace:
            left.append(workspace)
            (workspace / "file").write_text("x")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        work()
    assert not left[0].exists()


# --- eviction -----------------------------------------------------------------------------------------


def age(cache: ShardCache, shard: str, seconds: int) -> None:
    os.utime(cache.root / "shards" / shard, (seconds, seconds))


def held(cache: ShardCache) -> set[str]:
    return {path.name for path in (cache.root / "shards").iterdir()}


def test_the_least_recently_opened_goes_first(join):
    cache = join(bytes_max=250)
    for moment, shard in enumerate(["sh_a", "sh_b"]):
        cache.open(shard, filler())
        age(cache, shard, 1_000 + moment)
    cache.open("sh_a", never)  # used again: now the younger one
    cache.open("sh_c", filler())
    assert held(cache) == {"sh_a", "sh_c"}
    assert cache.used_bytes() <= 250


def test_idle_shards_are_those_that_nobody_opened_for_so_long(join):
    cache = join()
    for shard in ("sh_a", "sh_b"):
        cache.open(shard, filler())
    age(cache, "sh_a", 100)
    assert cache.idle(50) == {"sh_a"}
    cache.open("sh_a", never)
    assert cache.idle(50) == set()


def test_what_a_search_uses_is_not_evicted(join):
    cache = join(bytes_max=250)
    for shard in ("sh_a", "sh_b"):
        cache.open(shard, filler())
    cache.open("sh_c", filler(), in_use={"sh_a", "sh_b"})
    assert held(cache) == {"sh_a", "sh_b", "sh_c"}
    cache.open("sh_d", filler())
    assert cache.used_bytes() <= 250


def test_one_shard_larger_than_the_cache_is_opened_alone(join):
    cache = join(bytes_max=250)
    cache.open("sh_a", filler())
    cache.open("sh_b", filler(1_000))
    assert held(cache) == {"sh_b"}


def test_adopting_makes_room(join):
    cache = join(bytes_max=250)
    cache.open("sh_a", filler(200))
    with cache.workspace() as workspace:
        (workspace / "sh_b").mkdir()
        (workspace / "sh_b" / "file").write_bytes(bytes(200))
        cache.adopt("sh_b", workspace / "sh_b")
    assert held(cache) == {"sh_b"}


# --- where it may lie ---------------------------------------------------------------------------------


def test_a_disk_is_refused(tmp_path):
    assert not in_memory(tmp_path)
    with pytest.raises(ConfigurationError, match=r"\[cache\] path"):
        ShardCache(tmp_path, tmp_path, 2**20)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_is_accepted_on_request(tmp_path):
    with ShardCache(tmp_path, tmp_path, 2**20, allow_disk=True) as cache:
        cache.open("sh_a", filler())
    assert not cache.root.exists()


def test_a_link_to_a_disk_is_a_disk(base, tmp_path):
    (base / "link").symlink_to(tmp_path)
    assert in_memory(base)
    assert not in_memory(base / "link")
    with pytest.raises(ConfigurationError):
        ShardCache(base / "link", tmp_path, 2**20)


def test_a_folder_that_is_not_there_is_refused(base, tmp_path):
    with pytest.raises(ConfigurationError, match=r"\[cache\] path"):
        ShardCache(base / "nowhere", tmp_path, 2**20)


def test_only_we_can_enter(join):
    previous = os.umask(0)
    try:
        cache = join()
        with cache.workspace() as workspace:
            modes = {path.stat().st_mode & 0o777 for path in (cache.root, *cache.root.iterdir(), workspace)}
    finally:
        os.umask(previous)
    assert modes == {0o700}


def test_a_link_in_the_place_of_the_cache_is_not_followed(join, tmp_path):
    """Anybody may write into /dev/shm: a planted link must not lead the plaintext elsewhere."""
    cache = join()
    cache.close()
    (tmp_path / "elsewhere").mkdir()
    cache.root.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigurationError, match="somebody else"):
        join()
    assert list((tmp_path / "elsewhere").iterdir()) == []

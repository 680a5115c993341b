import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from core.crypto.keys import NamespaceKey
from core.errors import IntegrityError, Unavailable
from core.shards.attributes import AttributeRow
from core.shards.blobs import LocalBlobs
from core.shards.builder import GraphSettings, ShardRow, build_shard
from core.shards.cache import ShardCache
from core.shards.opening import open_shard
from core.shards.sealing import blob_name, put_shard

KEY = NamespaceKey("co_a", "ns_a", 1, bytes(range(64)))
SHARDS = ("sh_a", "sh_b", "sh_c")


@pytest.fixture
def memory() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="ostraka-test-", dir="/dev/shm"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def blobs(tmp_path) -> LocalBlobs:
    """Three small sealed shards; the ids in each say which it is."""
    made = LocalBlobs(tmp_path / "shards")
    for number, shard in enumerate(SHARDS):
        folder = tmp_path / shard
        folder.mkdir()
        rows = [
            ShardRow(
                AttributeRow(id_, 1, None, None, None, None, [], None, {"n": id_}),
                0,
                f"text {id_}",
                np.full((1, 4), 0.5, np.float32),
            )
            for id_ in range(number * 10 + 1, number * 10 + 10)
        ]
        build_shard(folder, rows, "model", GraphSettings(m=8, ef_construction=16, threads=1, rows_min=1))
        put_shard(made, KEY, shard, folder, tmp_path / "archive.tar")
    return made


def test_an_opened_shard_is_what_was_sealed(memory, blobs, tmp_path):
    with ShardCache(memory, tmp_path, 2**30) as cache:
        shard = open_shard(cache, blobs, KEY, "sh_b", "model")
        assert shard.ids.tolist() == list(range(11, 20))
        blobs.delete(blob_name("ns_a", "sh_b"))
        assert open_shard(cache, blobs, KEY, "sh_b", "model").ids.tolist() == list(range(11, 20))


def test_a_changed_blob_never_reaches_the_cache(memory, blobs, tmp_path):
    path = tmp_path / "shards" / blob_name("ns_a", "sh_a")
    sealed = bytearray(path.read_bytes())
    sealed[len(sealed) // 2] ^= 1
    path.write_bytes(sealed)
    with ShardCache(memory, tmp_path, 2**30) as cache:
        with pytest.raises(IntegrityError):
            open_shard(cache, blobs, KEY, "sh_a", "model")
        assert cache.used_bytes() == 0
        assert list(cache.own.iterdir()) == []


def test_another_model_is_refused(memory, blobs, tmp_path):
    with ShardCache(memory, tmp_path, 2**30) as cache, pytest.raises(IntegrityError, match="another embedding model"):
        open_shard(cache, blobs, KEY, "sh_a", "other")


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda path: path.unlink(), "shard_missing"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "integrity"),
        (lambda path: (path.unlink(), path.symlink_to(path.name)), "blob_unavailable"),
    ],
    ids=["missing", "truncated", "unreadable"],
)
def test_a_substitute_takes_the_place_of_a_blob_that_cannot_be_used(memory, blobs, tmp_path, damage, reason):
    damage(tmp_path / "shards" / blob_name("ns_a", "sh_a"))
    given = []

    def substitute(folder, error):
        assert list(folder.iterdir()) == []
        given.append(error.reason)
        shutil.copytree(tmp_path / "sh_b", folder, dirs_exist_ok=True)

    with ShardCache(memory, tmp_path, 2**30) as cache:
        for _ in range(2):
            shard = open_shard(cache, blobs, KEY, "sh_a", "model", substitute=substitute)
            assert shard.ids.tolist() == list(range(11, 20))
    assert given == [reason]


def test_a_shard_that_no_reader_can_use_has_a_substitute_too(memory, blobs, tmp_path):
    def substitute(folder, error):
        assert "another embedding model" in error.message
        rows = [ShardRow(AttributeRow(7, 1, None, None, None, None, [], None, {}), 0, "x", np.ones((1, 4), np.float32))]
        build_shard(folder, rows, "other", GraphSettings(m=8, ef_construction=16, threads=1))

    with ShardCache(memory, tmp_path, 2**30) as cache:
        assert open_shard(cache, blobs, KEY, "sh_a", "other", substitute=substitute).ids.tolist() == [7]


def test_a_substitute_that_fails_leaves_nothing(memory, blobs, tmp_path):
    def substitute(folder, error):
        (folder / "half-made").write_bytes(b"x")
        raise Unavailable("the record store does not answer") from error

    blobs.delete(blob_name("ns_a", "sh_a"))
    with ShardCache(memory, tmp_path, 2**30) as cache:
        with pytest.raises(Unavailable, match="record store"):
            open_shard(cache, blobs, KEY, "sh_a", "model", substitute=substitute)
        assert cache.used_bytes() == 0
        assert list(cache.own.iterdir()) == []


def test_a_shard_in_use_outlives_its_eviction(memory, blobs, tmp_path):
    with ShardCache(memory, tmp_path, 2**30) as cache:
        shard = open_shard(cache, blobs, KEY, "sh_a", "model")
        cache.drop("sh_a")
        assert shard.attributes.leaves("n").num_rows == 9
        assert shard.nearest(np.full((1, 4), 0.5, np.float32), 9, 50, None)[0].size == 9


def test_eviction_never_shows_half_a_shard(memory, blobs, tmp_path):
    """A cache with room for none, and four that want another one each time: a whole shard, or "no room"."""
    with ShardCache(memory, tmp_path, 1) as cache:

        def work(worker: int) -> int:
            opened = 0
            for turn in range(40):
                number = (worker + turn) % len(SHARDS)
                with suppress(Unavailable):
                    shard = open_shard(cache, blobs, KEY, SHARDS[number], "model")
                    assert shard.ids[0] == number * 10 + 1
                    assert shard.attributes.rows == 9
                    assert shard.nearest(np.full((1, 4), 0.5, np.float32), 9, 50, None)[0].size == 9
                    opened += 1
            return opened

        with ThreadPoolExecutor(4) as pool:
            assert sum(pool.map(work, range(4))) > 0

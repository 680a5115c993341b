"""Each byte changed, each length cut to: what rests on the disk is refused, all of it, before anything parses it."""

import io
import random
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from core.backup.creating import open_backup
from core.backup.reading import BackupReader
from core.crypto.keys import NamespaceKey
from core.errors import IntegrityError
from core.memory import NewMemory, Stored
from core.shards.attributes import AttributeRow
from core.shards.blobs import LocalBlobs
from core.shards.builder import GraphSettings, ShardRow, build_shard
from core.shards.cache import ShardCache
from core.shards.opening import open_shard
from core.shards.sealing import blob_name, put_shard
from tests.fault.report import Figures

KEY = NamespaceKey("co_a", "ns_a", 1, bytes(range(64)))
MODEL = "tiny:int8:0123456789abcdef"


@pytest.fixture
def memory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="ostraka-test-", dir="/dev/shm") as folder:
        yield Path(folder)


def refuse_all(sealed: bytes, opens: Callable[[bytes], None], figures: Figures, every: int, rng: random.Random) -> None:
    """Change each ``every``-th byte, cut to each ``every``-th length: all must be refused as not what was written."""
    start = rng.randrange(every)
    changes = [(place, True) for place in range(start, len(sealed), every)]
    changes += [(length, False) for length in range(start, len(sealed), every)]
    for place, flip in changes:
        bit = 1 << rng.randrange(8)
        damaged = sealed[:place] + (bytes([sealed[place] ^ bit]) + sealed[place + 1 :] if flip else b"")
        try:
            opens(damaged)
        except IntegrityError:
            continue
        finally:
            figures.corruptions += 1
        figures.undetected += 1
    assert len(changes) > 50
    assert figures.undetected == 0
    opens(sealed)


def test_a_sealed_row(report, rng):
    plaintext = Stored.of(NewMemory(content="A memory.", metadata={"n": 1}), "mem_1").to_bytes()
    sealed = KEY.seal_row(plaintext, "memories", 7, "content")

    def opens(damaged: bytes) -> None:
        assert KEY.open_row(damaged, "memories", 7, "content") == plaintext

    refuse_all(sealed, opens, report.of("bytes: a row"), 1, rng)


def test_a_shard(memory, report, plan, rng):
    folder = memory / "built"
    folder.mkdir()
    vectors = np.eye(8, dtype="f4")
    rows = [
        ShardRow(AttributeRow(n, 1, None, None, None, None, [], None, {"n": n}), 0, f"text {n}", vectors[n : n + 1])
        for n in range(1, 4)
    ]
    build_shard(folder, rows, MODEL, GraphSettings(m=4, ef_construction=4, threads=1))
    blobs = LocalBlobs(memory / "blobs")
    put_shard(blobs, KEY, "sh_a", folder, memory / "archive.tar")
    path = memory / "blobs" / blob_name("ns_a", "sh_a")
    with ShardCache(memory, memory / "data", 2**30) as cache:

        def opens(damaged: bytes) -> None:
            path.write_bytes(damaged)
            try:
                assert open_shard(cache, blobs, KEY, "sh_a", MODEL).ids.tolist() == [1, 2, 3]
            finally:
                assert list(cache.own.iterdir()) == [], "something of it was left"
            cache.drop("sh_a")

        refuse_all(path.read_bytes(), opens, report.of("bytes: a shard"), plan.every, rng)


def test_a_backup(control, report, plan, rng):
    with open_backup(control) as backup:
        sealed = b"".join(backup.chunks())

    def opens(damaged: bytes) -> None:
        reader = BackupReader(io.BytesIO(damaged), lambda _: control.master)
        for _, pieces in reader.files():
            for _ in pieces:
                pass

    refuse_all(sealed, opens, report.of("bytes: a backup"), plan.every, rng)

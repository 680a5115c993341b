"""Files that nothing lists are removed, once they are old enough that nobody can still be about to list them."""

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from core.errors import IntegrityError
from core.pipeline import orphans
from core.pipeline.orphans import ORPHAN_AGE_S, SWEEP_EVERY_S, CacheSweep, orphan_age_s
from core.shards.blobs import LocalBlobs
from tests.stores import BOTH

RECORD_STORES = BOTH

ROOT = Path(__file__).parents[3]


class Died(BaseException):
    """The process ended here: no handler of errors sees it."""


def die() -> None:
    raise Died


def folder(server, namespace="notes"):
    return server.records.folder / "shards" / server.namespace(namespace).public_id


def files(server) -> set[str]:
    return {path.name for path in (server.records.folder / "shards").rglob("*") if path.is_file()}


def live(server) -> set[str]:
    return {f"{shard.public_id}.shard" for shard in server.shards()}


def date(server) -> None:
    """Give every file and every opened shard the present time of the test's clock."""
    opened = (server.runtime.cache.root / "shards").iterdir()
    for path in [*(server.records.folder / "shards").rglob("*"), *opened]:
        os.utime(path, ns=(server.clock.now * 1_000,) * 2)


def age(server, seconds=ORPHAN_AGE_S) -> None:
    server.clock.advance(seconds)
    server.maintain()


@pytest.fixture
def flushed(server):
    server.write("A note.", "Another note.")
    server.settle()
    date(server)
    return server


def test_a_flush_that_died_before_its_commit_leaves_a_blob_that_is_swept(flushed, during_build):
    flushed.write("A third note.")
    during_build(die)
    with pytest.raises(Died):
        flushed.settle()
    date(flushed)
    [orphan] = files(flushed) - live(flushed)

    age(flushed, orphan_age_s(flushed.records) / 2)  # it is young, and its commit may come
    assert orphan in files(flushed)
    age(flushed)
    assert orphan not in files(flushed)
    flushed.settle()
    assert len(flushed.ids("note", mode="vector")) == 3
    flushed.check()


@pytest.mark.usefixtures("small_tiers")
def test_a_compaction_that_died_before_its_commit_leaves_a_blob_that_is_swept(server, during_build):
    for start in (0, 8, 16):
        server.write(*(f"note {number}" for number in range(start, start + 8)))
        server.settle()
    before = live(server)
    assert len(before) == 3
    during_build(die)
    with pytest.raises(Died):
        server.maintain()
    date(server)
    assert live(server) == before
    [orphan] = files(server) - before

    server.maintain()  # what died is done again
    assert len(live(server)) == 1
    age(server)

    assert orphan not in files(server)
    assert files(server) == live(server)
    server.check()


def test_a_put_that_was_killed_leaves_a_rest_that_is_swept(flushed):
    program = (
        "import os, sys; from pathlib import Path; from core.shards.blobs import LocalBlobs\n"
        "def chunks():\n"
        "    for _ in range(20):\n"
        "        yield bytes(2**20)\n"
        "    os.kill(os.getpid(), 9)\n"
        "LocalBlobs(Path(sys.argv[1])).put(sys.argv[2], chunks())"
    )
    name = f"{flushed.namespace().public_id}/sh_{'0' * 32}.shard"
    command = [sys.executable, "-c", program, str(flushed.records.folder / "shards"), name]
    assert subprocess.run(command, env={"PYTHONPATH": str(ROOT)}, check=False).returncode == -9
    date(flushed)
    [rest] = files(flushed) - live(flushed)
    assert "#" in rest

    age(flushed, orphan_age_s(flushed.records) / 2)
    assert rest in files(flushed)
    age(flushed)
    assert files(flushed) == live(flushed)


def test_blobs_of_a_namespace_that_nobody_knows_are_swept(flushed):
    stranger = flushed.records.folder / "shards" / "ns_stranger"
    stranger.mkdir()
    (stranger / "sh_stranger.shard").write_bytes(b"sealed once")
    date(flushed)

    age(flushed)

    assert files(flushed) == live(flushed)


def test_files_that_are_not_ours_stay(flushed):
    for name in ("README", "sh_a.shard.away", "sh_a.tar"):
        (folder(flushed) / name).write_bytes(b"somebody's")
    date(flushed)

    age(flushed)

    assert files(flushed) - live(flushed) == {"README", "sh_a.shard.away", "sh_a.tar"}


def test_a_blob_whose_commit_comes_while_the_sweep_looks_stays(flushed, during_build, monkeypatch):
    built, go_on = threading.Event(), threading.Event()
    real = orphans.listed_shards

    def commit_after_the_first_look(connection, ids):
        found = real(connection, ids)
        monkeypatch.setattr(orphans, "listed_shards", real)
        go_on.set()
        flushing.result(timeout=60)
        return found

    flushed.write("A third note.")
    flushed.embed()
    during_build(lambda: (built.set(), go_on.wait(60)))
    monkeypatch.setattr(orphans, "listed_shards", commit_after_the_first_look)
    with ThreadPoolExecutor(1) as pool:
        flushing = pool.submit(flushed.index)
        assert built.wait(60)
        date(flushed)
        flushed.clock.advance(ORPHAN_AGE_S)
        assert orphans.sweep_blobs(flushed.records, flushed.blobs) == 0

    assert live(flushed) < files(flushed)  # the new one, and the tail that it replaced
    flushed.check()


def test_the_sweep_comes_by_now_and_then(flushed, monkeypatch):
    looked = []
    monkeypatch.setattr(LocalBlobs, "files", lambda blobs: iter(looked.append(blobs) or ()))
    for _ in range(4):
        age(flushed, orphan_age_s(flushed.records) / 4)

    assert len(looked) == 2
    flushed.clock.advance(-10 * SWEEP_EVERY_S)  # a clock that was set back holds nothing up
    flushed.maintain()
    assert len(looked) == 3


def test_opened_shards_that_no_company_lists_are_dropped(flushed):
    other = flushed.runtime.tenant(flushed.runtime.control.create_company("other").id)
    stores = [flushed.records, other.records]
    shards = flushed.runtime.cache.root / "shards"
    (shards / "sh_orphan").mkdir()  # of a flush that died before its commit
    (shards / "sh_young").mkdir()

    def age_all_but_one() -> None:
        for path in shards.iterdir():
            os.utime(path, None if path.name == "sh_young" else (0, 0))

    sweep = CacheSweep(flushed.runtime.cache, lambda: stores)
    age_all_but_one()
    assert sweep.look() == 1
    assert {path.name for path in shards.iterdir()} == {"sh_young", *(shard.public_id for shard in flushed.shards())}
    assert flushed.contents("another note", limit=1) == ["Another note."]

    (shards / "sh_orphan").mkdir()
    age_all_but_one()
    assert sweep.look() == 0  # it comes by now and then


def test_nothing_is_dropped_while_a_company_cannot_be_asked(flushed):
    def stores():
        yield flushed.records
        raise IntegrityError("its key does not open")

    shards = flushed.runtime.cache.root / "shards"
    (shards / "sh_orphan").mkdir()
    os.utime(shards / "sh_orphan", (0, 0))

    with pytest.raises(IntegrityError):
        CacheSweep(flushed.runtime.cache, stores).look()
    assert (shards / "sh_orphan").exists()

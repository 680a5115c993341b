import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from core.errors import IntegrityError, Unavailable
from core.shards.blobs import LocalBlobs

MIB = 2**20


@pytest.fixture
def root(tmp_path) -> Path:
    return tmp_path / "shards"


@pytest.fixture
def blobs(root) -> LocalBlobs:
    return LocalBlobs(root)


@pytest.mark.parametrize("size", [0, 1, MIB - 1, MIB, MIB + 1, 11 * MIB])
def test_what_is_put_is_got(blobs, size):
    content = os.urandom(size)
    pieces = [content[start : start + 700_000] for start in range(0, size, 700_000)]
    assert blobs.put("ns_a/sh_a.shard", pieces) == size
    assert b"".join(blobs.get("ns_a/sh_a.shard")) == content


def test_names_below_a_prefix(blobs):
    for name in ("ns_a/sh_a.shard", "ns_a/sh_b.shard", "ns_b/sh_c.shard"):
        blobs.put(name, [b"x"])
    assert sorted(blobs.names()) == ["ns_a/sh_a.shard", "ns_a/sh_b.shard", "ns_b/sh_c.shard"]
    assert sorted(blobs.names("ns_a")) == ["ns_a/sh_a.shard", "ns_a/sh_b.shard"]
    assert list(blobs.names("ns_c")) == []


def test_a_missing_blob_is_an_integrity_error_that_names_the_shard(blobs):
    with pytest.raises(IntegrityError, match="sh_a is missing"):
        list(blobs.get("ns_a/sh_a.shard"))


def unreadable(path: Path) -> None:
    """A link that leads to itself: it is there, and opening it fails, for root too."""
    path.symlink_to(path.name)


def test_a_blob_that_cannot_be_read_is_unavailable_and_not_refused(blobs, root):
    blobs.put("ns_a/sh_b.shard", [b"x"])
    unreadable(root / "ns_a" / "sh_a.shard")
    with pytest.raises(Unavailable) as failed:
        list(blobs.get("ns_a/sh_a.shard"))
    assert failed.value.reason == "blob_unavailable"
    assert str(root) not in failed.value.message


def test_a_blob_that_cannot_be_written_or_removed_is_unavailable(blobs, root):
    (root / "ns_a").write_bytes(b"a file where a folder should be")
    for attempt in (lambda: blobs.put("ns_a/sh_a.shard", [b"x"]), lambda: blobs.delete("ns_a/sh_a.shard")):
        with pytest.raises(Unavailable):
            attempt()


def test_a_full_disk_is_unavailable_and_leaves_no_blob(blobs, root):
    def full():
        yield b"x"
        raise OSError(28, "No space left on device")

    with pytest.raises(Unavailable):
        blobs.put("ns_a/sh_a.shard", full())
    assert [path for path in root.rglob("*") if path.is_file()] == []


def test_every_file_is_listed_with_its_age(blobs, root):
    blobs.put("ns_a/sh_a.shard", [b"x"])
    (root / "ns_a" / "sh_b.shard#1").write_bytes(b"what a killed put leaves")
    unreadable(root / "ns_a" / "sh_c.shard")
    os.utime(root / "ns_a" / "sh_a.shard", (5, 7))
    found = {file.name: file.modified_at for file in blobs.files()}
    assert set(found) == {"ns_a/sh_a.shard", "ns_a/sh_b.shard#1", "ns_a/sh_c.shard"}
    assert found["ns_a/sh_a.shard"] == 7_000_000
    for name in found:
        blobs.delete(name)
    assert list(blobs.files()) == []


def test_deleting_twice_is_no_error(blobs):
    blobs.put("ns_a/sh_a.shard", [b"x"])
    blobs.delete("ns_a/sh_a.shard")
    blobs.delete("ns_a/sh_a.shard")
    assert list(blobs.names()) == []


def test_a_put_that_fails_leaves_no_blob(blobs, root):
    def broken():
        yield bytes(6 * MIB)
        raise RuntimeError("the build failed")

    with pytest.raises(Exception, match="the build failed"):
        blobs.put("ns_a/sh_a.shard", broken())
    assert list(blobs.names()) == []
    assert [path for path in root.rglob("*") if path.is_file()] == []


def test_a_killed_put_leaves_nothing_that_is_listed(blobs, root):
    program = (
        "import sys; from pathlib import Path; from core.shards.blobs import LocalBlobs\n"
        "def chunks():\n"
        "    while True:\n"
        "        yield bytes(2**20)\n"
        "        print(flush=True)\n"
        "LocalBlobs(Path(sys.argv[1])).put('ns_a/sh_a.shard', chunks())"
    )
    environment = {"PYTHONPATH": str(Path(__file__).parents[3])}
    with subprocess.Popen(
        [sys.executable, "-c", program, str(root)], env=environment, stdout=subprocess.PIPE, text=True
    ) as putting:
        for _ in range(30):
            putting.stdout.readline()
        putting.send_signal(signal.SIGKILL)
    assert list(blobs.names()) == []
    blobs.put("ns_a/sh_a.shard", [b"again"])
    assert b"".join(blobs.get("ns_a/sh_a.shard")) == b"again"


def test_the_folder_is_ours_alone(root):
    LocalBlobs(root)
    assert root.stat().st_mode & 0o777 == 0o700


def test_what_was_put_is_there_for_another_process(blobs, root):
    blobs.put("ns_a/sh_a.shard", [b"x"])
    assert b"".join(LocalBlobs(root).get("ns_a/sh_a.shard")) == b"x"

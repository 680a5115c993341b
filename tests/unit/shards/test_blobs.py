import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from core.errors import IntegrityError
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

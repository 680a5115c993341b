"""What every blob store promises, a directory and an object store alike."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from core.errors import IntegrityError
from core.shards.objectblobs import PIECE_BYTES, WHOLE_BYTES

MIB = 2**20
NAME = "ns_a/sh_a.shard"
PUT_FOR_EVER = (
    "import json, sys; from pathlib import Path\n"
    "from core.settings import load_settings; from core.shards.depot import open_depot\n"
    "def chunks():\n"
    "    while True:\n"
    "        yield bytes(2**20)\n"
    "        print(flush=True)\n"
    "storage = load_settings(None, {'storage': json.loads(sys.argv[1])}).storage\n"
    "open_depot(storage, storage.path).of('co_a').put('ns_a/sh_a.shard', chunks())"
)


@pytest.mark.parametrize(
    "size", [0, 1, WHOLE_BYTES - 1, WHOLE_BYTES, WHOLE_BYTES + 1, 2 * PIECE_BYTES, 2 * PIECE_BYTES + 1]
)
def test_what_is_put_is_got(blobs, size, rng):
    content = rng.randbytes(size)
    pieces = [content[start : start + 700_000] for start in range(0, size, 700_000)]
    assert blobs.put(NAME, pieces) == size
    assert blobs.size(NAME) == size
    assert b"".join(blobs.get(NAME)) == content


def test_names_below_a_prefix(blobs):
    names = [f"ns_a/sh_{number}.shard" for number in range(12)]
    for name in [*names, "ns_ab/sh_c.shard"]:
        blobs.put(name, [b"x"])
    assert sorted(blobs.names()) == sorted([*names, "ns_ab/sh_c.shard"])
    assert sorted(blobs.names("ns_a")) == sorted(names)
    assert list(blobs.names("ns_c")) == []


def test_every_file_is_listed_with_its_age_and_its_size(blobs):
    before = time.time()
    blobs.put(NAME, [b"xyz"])
    [found] = blobs.files()
    assert (found.name, found.size) == (NAME, 3)
    assert before - 2 <= found.modified_at / 1e6 <= time.time() + 1  # the store counts whole seconds


def test_a_missing_blob_is_an_integrity_error_that_names_the_shard(blobs):
    with pytest.raises(IntegrityError, match="sh_a is missing") as missed:
        list(blobs.get(NAME))
    assert missed.value.reason == "shard_missing"
    assert blobs.size(NAME) is None


def test_deleting_twice_is_no_error(blobs):
    blobs.put(NAME, [b"x"])
    blobs.delete(NAME)
    blobs.delete(NAME)
    assert list(blobs.names()) == []


def test_what_was_put_is_there_for_another_process(blobs, reopen):
    blobs.put(NAME, [b"x"])
    assert b"".join(reopen().get(NAME)) == b"x"


@pytest.mark.parametrize("size", [MIB, WHOLE_BYTES + 5 * MIB])
def test_a_put_that_fails_leaves_no_blob(blobs, size):
    def broken():
        for _ in range(size // MIB):
            yield bytes(MIB)
        raise RuntimeError("the build failed")

    with pytest.raises(Exception, match="the build failed"):
        blobs.put(NAME, broken())
    assert list(blobs.names()) == []
    assert list(blobs.files()) == []


@pytest.mark.parametrize("kind", ["local", "s3"])
def test_a_killed_put_leaves_nothing_that_is_listed(kind, request, depot_at, tmp_path):
    storage = {"path": str(tmp_path)} | (request.getfixturevalue("bucket").settings() if kind == "s3" else {})
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    command = [sys.executable, "-c", PUT_FOR_EVER, json.dumps(storage)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as putting:
        for _ in range(40):
            assert putting.stdout.readline() == "\n"
        putting.send_signal(signal.SIGKILL)
    blobs = depot_at(storage).of("co_a")
    assert list(blobs.names()) == []
    blobs.put(NAME, [b"again"])
    assert b"".join(blobs.get(NAME)) == b"again"


def test_companies_do_not_see_each_other(depot_at, bucket):
    depot = depot_at(bucket.settings())
    for company in ("co_a", "co_ab"):
        depot.of(company).put(NAME, [company.encode()])
    assert list(depot.names("co_a")) == [NAME]
    assert b"".join(depot.of("co_ab").get(NAME)) == b"co_ab"
    assert bucket.keys() == [f"co_a/{NAME}", f"co_ab/{NAME}"]
    assert depot.holding(["co_a", "co_ab", "co_b"]) == {"co_a", "co_ab"}
    depot.remove("co_a")
    assert bucket.keys() == [f"co_ab/{NAME}"]


def test_more_blobs_than_a_page_are_removed(depot_at, bucket):
    depot = depot_at(bucket.settings())
    for number in range(11):
        depot.of("co_a").put(f"ns_a/sh_{number}.shard", [b"x"])
    depot.remove("co_a")
    assert bucket.keys() == []

"""A network that breaks: what passes is outlasted, what lasts is ``Unavailable``, and never taken for damage."""

import pytest

from core.errors import IntegrityError, Unavailable
from core.shards.objectblobs import PART_BYTES, PIECE_BYTES, WHOLE_BYTES
from tests.faulty_proxy import Fault

NAME = "ns_a/sh_a.shard"
KEY = f"co_a/{NAME}"
OFTEN = (Fault.SERVER_ERROR, Fault.LOST_ANSWER, Fault.CUT, Fault.SHORT)
RARELY = (Fault.SLOW_DOWN, Fault.RESET)
PASSING = [*OFTEN, *(pytest.param(fault, marks=pytest.mark.long_run) for fault in RARELY)]
LASTING = [
    *OFTEN,
    Fault.FORBIDDEN,
    Fault.STALL,
    *(pytest.param(fault, marks=pytest.mark.long_run) for fault in (*RARELY, Fault.HANG)),
]


def of_bodies(method, path):
    return method == "GET"


def of_parts(method, path):
    return method == "PUT"


def of_joining(method, path):
    return method == "POST" and "uploadId" in path


def pieces(content):
    return [content[start : start + 2**20] for start in range(0, len(content), 2**20)]


@pytest.fixture
def content(rng):
    return rng.randbytes(PIECE_BYTES + 3)


@pytest.mark.parametrize("fault", PASSING)
def test_a_read_outlasts_what_passes(blobs_behind, proxy, content, fault):
    blobs = blobs_behind()
    blobs.put(NAME, [content])
    proxy.break_(fault, times=2)
    assert b"".join(blobs.get(NAME)) == content


@pytest.mark.parametrize("fault", [Fault.STALL, pytest.param(Fault.HANG, marks=pytest.mark.long_run)])
def test_a_read_outlasts_what_stands_still(blobs_behind, proxy, content, fault):
    blobs = blobs_behind(timeout_s=1)
    blobs.put(NAME, [content])
    proxy.break_(fault, concerns=of_bodies)
    assert b"".join(blobs.get(NAME)) == content


@pytest.mark.parametrize("fault", LASTING)
def test_what_lasts_is_unavailable_and_not_damage(blobs_behind, proxy, content, fault):
    blobs = blobs_behind(timeout_s=0.3)
    blobs_behind().put(NAME, [content])
    proxy.break_(fault, times=100, concerns=of_bodies)
    with pytest.raises(Unavailable) as failed:
        list(blobs.get(NAME))
    assert failed.value.reason == "blob_unavailable"
    assert "blobs_url" in failed.value.message
    assert proxy.url not in failed.value.message
    assert NAME not in failed.value.message


@pytest.mark.parametrize("fault", PASSING)
def test_a_small_put_outlasts_what_passes(blobs_behind, proxy, bucket, fault):
    proxy.break_(fault, times=2)
    assert blobs_behind().put(NAME, [b"sealed"]) == 6
    assert bucket.read(KEY) == b"sealed"


def test_a_small_put_that_is_repeated_finds_its_own_work(blobs_behind, proxy, bucket):
    proxy.break_(Fault.LOST_ANSWER)
    blobs_behind().put(NAME, [b"sealed"])
    assert proxy.count("PUT") == 2
    assert bucket.read(KEY) == b"sealed"


@pytest.mark.parametrize("fault", PASSING)
@pytest.mark.parametrize("concerns", [of_parts, of_joining])
def test_a_large_put_outlasts_what_passes(blobs_behind, proxy, bucket, content, fault, concerns):
    content += bytes(PART_BYTES)
    proxy.break_(fault, times=1, concerns=concerns)
    assert blobs_behind().put(NAME, pieces(content)) == len(content)
    assert bucket.read(KEY) == content
    assert bucket.uploads() == 0


@pytest.mark.parametrize("fault", [Fault.SERVER_ERROR, Fault.FORBIDDEN])
@pytest.mark.parametrize("concerns", [of_parts, of_joining])
def test_a_put_that_fails_for_good_is_given_up(blobs_behind, proxy, bucket, content, fault, concerns):
    proxy.break_(fault, times=100, concerns=concerns)
    with pytest.raises(Unavailable):
        blobs_behind().put(NAME, pieces(content))
    assert bucket.keys() == []
    assert bucket.uploads() == 0


def test_a_put_whose_end_nobody_confirms_has_happened(blobs_behind, proxy, bucket, content):
    proxy.break_(Fault.LOST_ANSWER, times=100, concerns=of_joining)
    assert blobs_behind().put(NAME, pieces(content)) == len(content)
    assert bucket.read(KEY) == content


@pytest.mark.long_run
def test_a_put_that_hangs_is_given_up(blobs_behind, proxy, bucket):
    proxy.break_(Fault.HANG, times=100)
    with pytest.raises(Unavailable):
        blobs_behind(timeout_s=0.2).put(NAME, [b"sealed"])
    assert bucket.keys() == []


@pytest.mark.parametrize("size", [10, WHOLE_BYTES + 10])
def test_a_blob_is_written_once(blobs_behind, bucket, rng, size):
    blobs, content = blobs_behind(), rng.randbytes(size)
    blobs.put(NAME, pieces(content))
    assert blobs.put(NAME, pieces(content)) == size
    with pytest.raises(IntegrityError, match="with other bytes"):
        blobs.put(NAME, pieces(rng.randbytes(size)))
    assert bucket.read(KEY) == content


def test_a_blob_that_is_exchanged_while_it_is_read_is_not_mixed(blobs_behind, bucket, content):
    blobs = blobs_behind()
    blobs.put(NAME, pieces(content))
    reading = blobs.get(NAME)
    assert next(reading) == content[:PIECE_BYTES]
    bucket.write(KEY, bytes(len(content)))
    with pytest.raises(Unavailable):
        next(reading)


def test_a_blob_that_is_removed_while_it_is_read_is_missing(blobs_behind, content):
    blobs = blobs_behind()
    blobs.put(NAME, pieces(content))
    reading = blobs.get(NAME)
    next(reading)
    blobs.delete(NAME)
    with pytest.raises(IntegrityError) as missed:
        next(reading)
    assert missed.value.reason == "shard_missing"


CALLS = {
    "put": lambda blobs: blobs.put(NAME, [b"sealed"]),
    "put in parts": lambda blobs: blobs.put(NAME, [bytes(WHOLE_BYTES), b"more"]),
    "get": lambda blobs: list(blobs.get(NAME)),
    "size": lambda blobs: blobs.size(NAME),
    "delete": lambda blobs: blobs.delete(NAME),
    "names": lambda blobs: list(blobs.names()),
    "files": lambda blobs: list(blobs.files()),
    "remove": lambda blobs: blobs.remove(),
}


@pytest.mark.parametrize("call", CALLS)
def test_a_bucket_that_is_not_there_is_unavailable_and_its_blobs_not_missing(depot_at, bucket, call):
    gone = bucket.settings() | {"blobs_url": "s3://no-such-bucket"}
    with pytest.raises(Unavailable):
        CALLS[call](depot_at(gone).of("co_a"))


@pytest.mark.parametrize("call", CALLS)
def test_a_store_that_refuses_us_is_unavailable(blobs_behind, proxy, call):
    proxy.break_(Fault.FORBIDDEN, times=100)
    with pytest.raises(Unavailable):
        CALLS[call](blobs_behind())


@pytest.mark.parametrize("call", CALLS)
def test_a_store_that_nobody_reaches_is_unavailable(depot_at, bucket, call):
    with pytest.raises(Unavailable):
        CALLS[call](depot_at(bucket.settings("http://127.0.0.1:1")).of("co_a"))


def test_a_depot_says_whether_its_store_answers(depot_at, bucket, proxy):
    depot = depot_at(bucket.settings(proxy.url))
    proxy.break_(Fault.FORBIDDEN, times=2)
    assert not depot.answers()
    with pytest.raises(Unavailable):
        depot.check()
    assert depot.answers()
    asked = len(proxy.requests)
    assert all(depot.answers() for _ in range(20))
    assert len(proxy.requests) == asked, "a store wants money for each answer"
    assert not depot_at(bucket.settings() | {"blobs_url": "s3://no-such-bucket"}).answers()

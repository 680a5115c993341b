"""The search for marks finds each of them, in every encoding and kind of place; else its silence would say nothing."""

import gzip
import hashlib
import os
import sqlite3
import subprocess
import sys
import zlib

import psutil
import pytest
import redis

from tests.integration.processes import eventually
from tests.security.marks import Marks
from tests.security.needles import Needles, encodings, fragments
from tests.security.surroundings import (
    Wiretap,
    command_lines,
    environments,
    files_below,
    names_below,
    redis_keys,
    redis_state,
)

FORMS = [form for form, _ in encodings("äbcdefghijkl")]


@pytest.fixture
def marks(rng) -> Marks:
    return Marks(rng)


@pytest.fixture(params=["plant", "plant_other"])
def mark(request, marks) -> str:
    return getattr(marks, request.param)("content")


@pytest.fixture
def needles(mark) -> Needles:
    made = Needles()
    made.add_text("content", mark)
    return made


def among(seen, needles) -> set[str]:
    """Return where something was found."""
    return {where for where, data in seen if needles.find(data)}


@pytest.mark.parametrize("form", FORMS)
def test_any_fragment_is_found_in_every_encoding_at_any_offset(mark, needles, rng, form):
    for fragment in fragments(mark):
        needle = dict(encodings(fragment)).get(form)
        if needle is not None:  # of ASCII some forms are the same
            noise = rng.randbytes(rng.randrange(64))
            assert needles.find(noise + needle + noise)


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress])
def test_what_was_compressed_is_found(mark, needles, rng, pack):
    assert needles.find(rng.randbytes(99) + pack(b"some text " * 9 + mark.encode()) + rng.randbytes(99))


def test_a_mark_across_two_chunks_is_found(mark, needles, monkeypatch):
    monkeypatch.setattr("tests.security.needles._CHUNK_BYTES", 64)
    for before in range(50, 70):
        assert needles.find(bytes(before) + mark.encode() + bytes(99))


def test_a_digest_that_could_be_guessed_is_found(marks, rng):
    needles = Needles()
    needles.add_digests("a request", b"/v1/memory\0what was sent")
    digest = hashlib.sha256(b"/v1/memory\0what was sent")
    assert needles.find(rng.randbytes(9) + digest.digest()) == {"a request, sha256"}
    assert needles.find(digest.hexdigest().encode()) == {"a request, sha256 in hex"}


def test_nothing_is_found_where_nothing_is(needles, rng):
    assert needles.find(rng.randbytes(1 << 20)) == set()
    assert needles.find(b"The quick brown fox. " * 1_000) == set()
    assert needles.find(b"") == set()


def test_leaks_in_files_and_their_names_are_found(mark, needles, tmp_path):
    (tmp_path / "log.txt").write_text(f"a line\n{mark.lower()}\n")
    (tmp_path / f"of {mark}").mkdir()
    (tmp_path / "link").symlink_to(f"/nowhere/{mark}")
    (tmp_path / "core.123").write_bytes(os.urandom(999) + mark.encode("utf-16-le"))
    database = sqlite3.connect(tmp_path / "records.db")
    database.execute("CREATE TABLE leak (value)")
    database.execute("INSERT INTO leak VALUES (?)", [mark])
    database.commit()
    database.close()
    assert among(files_below(tmp_path), needles) == {
        str(tmp_path / name) for name in ("log.txt", "core.123", "records.db")
    }
    assert among(names_below(tmp_path), needles) == {f"{tmp_path}/link (target)", f"{tmp_path}/of {mark}"}


def test_leaks_in_processes_are_found(mark, needles):
    sleeper = [sys.executable, "-c", "input()", mark]
    process = subprocess.Popen(sleeper, env={**os.environ, "LEAK": mark}, stdin=subprocess.PIPE)
    try:
        found = psutil.Process(process.pid)
        eventually(lambda: mark in found.cmdline())  # its exec is done
        assert among(environments([found]), needles)
        assert among(command_lines([found]), needles)
    finally:
        process.communicate(b"\n")


def test_leaks_in_redis_are_found(mark, needles, private_redis):
    client = redis.Redis(unix_socket_path=str(private_redis))
    tap = Wiretap(private_redis)
    client.config_set("slowlog-log-slower-than", "0")
    client.rpush("embed", f'{{"body": "{mark}", "more": "{"x" * 99}"}}')
    client.client_setname(mark.encode().hex())
    assert among(redis_keys(client), needles) == {"value of b'embed'"}
    assert among(redis_state(client), needles) >= {"SLOWLOG GET", "CLIENT LIST"}
    client.close()
    assert needles.find(tap.close())

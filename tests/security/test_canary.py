"""Canaries: marks planted through every route and command lie nowhere in the clear, whatever happens to the server."""

import io
import math
import random
import re
import sqlite3
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import SEED
from tests.security.marks import Marks
from tests.security.needles import FRAGMENT_BYTES, Needles
from tests.security.story import Story

PLACES = [
    "data directory, running",
    "data directory, killed",
    "data directory, stopped",
    "backups",
    "names",
    "temporary files and configuration",
    "logs",
    "environments",
    "command lines",
    "Redis keys",
    "Redis state",
    "Redis traffic",
    "metrics and health",
]
OPAQUE = re.compile(r"(co|ns|sh|store|backup)_[0-9a-f]{32}(\.(shard|ostraka|key))?")
FIXED = re.compile(
    r"companies|shards|run|ostraka|keys|sent\.ostraka"
    r"|(audit|control|records)\.db(-wal|-shm|-journal|\.turn|\.lock|\.migrate\.lock)?"
    r"|[a-z]+\.(lock|turn|sock)"
)
SEALED = re.compile(r"sealed|wrapped|handle|secret_hash|idempotency|request_hash|session")
EVEN = 510.0  # chi-square of 255 degrees of freedom: eleven deviations above the mean


@pytest.fixture(scope="module")
def story(tmp_path_factory) -> Iterator[Story]:
    played = Story(tmp_path_factory.mktemp("canary"), Marks(random.Random(SEED)))
    try:
        played.play()
        yield played
    finally:
        played.close()


@pytest.fixture(scope="module")
def needles(story) -> Needles:
    return story.needles()


def test_at_least_fifty_marks_were_planted(story):
    assert len(story.marks.planted) >= 50


@pytest.mark.parametrize("place", PLACES)
def test_nothing_lies_in_the_clear(story, needles, place):
    seen = story.evidence[place]
    assert sum(len(data) for _, data in seen) > 0
    assert {where: found for where, data in seen if (found := needles.find(data))} == {}


def test_every_place_was_searched(story):
    assert set(story.evidence) == set(PLACES)


def test_the_marks_were_in_use_and_would_have_been_found(story, needles):
    """The opened shards, in RAM, are the one place that holds names and values in the clear while the server runs."""
    found = {name for _, data in story.opened for name in needles.find(data)}
    assert {place for place in ("metadata key", "metadata value", "tag") if f"tenant: {place}, as it is" in found} == {
        "metadata key",
        "metadata value",
        "tag",
    }


def test_vectors_lie_nowhere_either(story):
    """Those of the opened shards are looked for, any three neighbouring numbers of them."""
    vectors = [np.load(io.BytesIO(data)) for where, data in story.opened if where.endswith("vectors.npy")]
    needles = Needles()
    for row in np.unique(np.concatenate(vectors), axis=0)[:20]:
        whole = row.tobytes()
        for start in range(0, len(whole) - FRAGMENT_BYTES + 1, row.itemsize):
            needles.add("vector", whole[start : start + FRAGMENT_BYTES])
    assert any(needles.find(data) for _, data in story.opened)
    places = {place for place, seen in story.evidence.items() if any(needles.find(data) for _, data in seen)}
    assert places == set()


def test_nothing_is_left_in_the_cache_after_the_stop(story):
    assert story.left_behind == []


def test_the_traffic_of_the_queue_and_its_events_were_heard(story):
    heard = b"".join(data for _, data in story.evidence["Redis traffic"])
    assert b"LPUSH" in heard
    assert b"celeryev" in heard


@pytest.mark.parametrize("word", [b"listening", b"schema", b"GET /"])
def test_the_logs_hold_events_and_no_requests(story, word):
    logs = b"".join(data for _, data in story.evidence["logs"])
    assert (word in logs) == (word == b"listening")


def test_refusals_repeat_nothing(story, needles):
    assert {what: found for what, said in story.refusals() if (found := needles.find(said))} == {}


# --- what lies there looks random ------------------------------------------------------------------------


def unevenness(data: bytes) -> float:
    """Chi-square of the counts of bytes against equal counts."""
    expected = len(data) / 256
    return sum((count - expected) ** 2 for count in Counter(data).values()) / expected + expected * (
        256 - len(Counter(data))
    )


def looks_random(data: bytes) -> bool:
    return len(zlib.compress(data, 9)) >= 0.99 * len(data) and unevenness(data) < EVEN


def test_sealed_files_look_random(story):
    stored = [*story.evidence["data directory, running"], *story.evidence["backups"]]
    bodies = {where: data[16:] for where, data in stored if where.endswith((".shard", ".ostraka"))}
    for where, data in bodies.items():
        if where.endswith(".ostraka"):  # its head says in the clear which key it needs
            bodies[where] = data[data.index(b"}") + 1 + 16 :]
    assert len(bodies) > 4
    assert {where for where, data in bodies.items() if not looks_random(data)} == set()


def sealed_columns(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield each column of sealed values or handles: all of its values, once each, without the envelopes' heads."""
    database = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            for column in [row[1] for row in database.execute(f"PRAGMA table_info({table})")]:
                if SEALED.fullmatch(column) or column.startswith("sealed"):
                    found = {value for (value,) in database.execute(f"SELECT {column} FROM {table}") if value}
                    head = 5 if column.startswith(("sealed", "wrapped")) else 0
                    yield f"{table}.{column}", b"".join(sorted(value[head:] for value in found))
    finally:
        database.close()


def test_sealed_columns_look_random(story):
    databases = sorted(story.server.data.rglob("*.db"))
    assert {path.name for path in databases} == {"audit.db", "control.db", "records.db"}
    columns = [(str(path), *column) for path in databases for column in sealed_columns(path)]
    long = [column for column in columns if len(column[2]) >= 2_560]  # ten of each byte: enough to judge
    assert {name for _, name, _ in long} >= {"memories.sealed", "memories.sealed_vectors"}
    assert {(path, name) for path, name, data in long if not looks_random(data)} == set()


def test_what_is_not_sealed_does_not_look_random():
    assert not looks_random(bytes(range(256)) * 99)
    assert not looks_random(b"The quick brown fox. " * 999)
    assert not looks_random(bytes(random.Random(SEED).choices(range(255), k=99_999)))
    assert looks_random(random.Random(SEED).randbytes(99_999))
    assert math.isclose(unevenness(bytes(256)), 255 * 256)


def test_names_of_files_are_opaque_or_fixed(story):
    parts = {part for _, name in story.evidence["names"] for part in Path(name.decode()).parts}
    assert {part for part in parts if not OPAQUE.fullmatch(part) and not FIXED.fullmatch(part)} == set()

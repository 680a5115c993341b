"""What is special to a directory as blob store; ``tests/integration/blobs`` has what every store promises."""

import os
from pathlib import Path

import pytest

from core.errors import Unavailable
from core.shards.blobs import LocalBlobs


@pytest.fixture
def root(tmp_path) -> Path:
    return tmp_path / "shards"


@pytest.fixture
def blobs(root) -> LocalBlobs:
    return LocalBlobs(root)


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


def test_the_folder_is_ours_alone(root):
    LocalBlobs(root)
    assert root.stat().st_mode & 0o777 == 0o700

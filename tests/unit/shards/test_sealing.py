import shutil
from pathlib import Path

import pytest

from core.crypto.keys import NamespaceKey
from core.crypto.sealedfile import Purpose, seal_stream
from core.errors import IntegrityError, WrongKey
from core.shards.blobs import LocalBlobs
from core.shards.sealing import blob_name, check_shard, fetch_shard, put_shard

SECRET = bytes(range(64))
OURS = NamespaceKey("co_a", "ns_a", 1, SECRET)
SHARD = "sh_a"


class Store:
    """A blob store with one sealed shard, and a place to open it."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "shards"
        self.blobs = LocalBlobs(self.root)
        self.work = folder / "work"
        self.work.mkdir()
        built = folder / "built"
        (built / "text").mkdir(parents=True)
        (built / "shard.json").write_bytes(b'{"format": 1}')
        (built / "text" / "meta.json").write_bytes(b"a sentence that is nowhere in the clear")
        put_shard(self.blobs, OURS, SHARD, built, folder / "archive.tar")
        self.path = self.root / blob_name("ns_a", SHARD)

    def fetch(self, key: NamespaceKey = OURS, shard: str = SHARD) -> Path:
        folder = self.work / shard
        folder.mkdir()
        try:
            fetch_shard(self.blobs, key, shard, folder)
        except IntegrityError:
            # neither an archive for tarfile nor a file for json, numpy or tantivy
            assert not folder.with_suffix(".tar").exists()
            assert list(folder.iterdir()) == []
            folder.rmdir()
            raise
        return folder


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path)


def test_a_fetched_shard_is_the_one_that_was_put(store):
    folder = store.fetch()
    assert (folder / "shard.json").read_bytes() == b'{"format": 1}'
    assert (folder / "text" / "meta.json").read_bytes() == b"a sentence that is nowhere in the clear"
    assert list(store.work.iterdir()) == [folder]


def test_sealing_leaves_no_plaintext_behind(store, tmp_path):
    assert not (tmp_path / "archive.tar").exists()
    sealed = store.path.read_bytes()
    assert b"sentence" not in sealed
    assert b"ustar" not in sealed
    assert b"shard.json" not in sealed


def test_any_changed_byte_is_refused(store):
    sealed = store.path.read_bytes()
    for position in range(0, len(sealed), 29):
        changed = bytearray(sealed)
        changed[position] ^= 0x40
        store.path.write_bytes(bytes(changed))
        with pytest.raises(IntegrityError):
            store.fetch()


@pytest.mark.parametrize("change", [lambda sealed: sealed[:-1], lambda sealed: sealed + b"\0", lambda _: b""])
def test_another_length_is_refused(store, change):
    store.path.write_bytes(change(store.path.read_bytes()))
    with pytest.raises(IntegrityError):
        store.fetch()


@pytest.mark.parametrize(
    ("key", "shard"),
    [
        (OURS, "sh_b"),
        (NamespaceKey("co_a", "ns_b", 1, SECRET), SHARD),
        (NamespaceKey("co_b", "ns_a", 1, SECRET), SHARD),
        (NamespaceKey("co_a", "ns_a", 1, bytes(64)), SHARD),
    ],
    ids=["another shard", "another namespace", "another company", "another key"],
)
def test_a_shard_put_in_the_place_of_another_is_refused(store, key, shard):
    target = store.root / blob_name(key.namespace, shard)
    target.parent.mkdir(exist_ok=True)
    if target != store.path:
        shutil.copy(store.path, target)
    with pytest.raises(IntegrityError, match="failed authentication"):
        store.fetch(key, shard)


def test_another_key_version_is_named_as_such(store):
    with pytest.raises(WrongKey):
        store.fetch(NamespaceKey("co_a", "ns_a", 2, SECRET))


def test_a_missing_shard_is_refused(store):
    store.blobs.delete(blob_name("ns_a", SHARD))
    with pytest.raises(IntegrityError, match="missing"):
        store.fetch()


def test_what_is_not_authentic_is_refused_before_it_is_parsed(store):
    """Authentic bytes that are no archive get as far as tarfile; changed ones do not."""
    place = {"key": OURS.file_key, "key_version": 1, "purpose": Purpose.SHARD, "where": ("co_a", "ns_a", SHARD)}
    sealed = b"".join(seal_stream([b"no archive at all"], **place))
    store.path.write_bytes(sealed)
    with pytest.raises(IntegrityError, match="archive cannot be read"):
        store.fetch()
    store.path.write_bytes(sealed[:-1] + bytes([sealed[-1] ^ 1]))
    with pytest.raises(IntegrityError, match="failed authentication"):
        store.fetch()


def test_a_check_reads_all_of_it_and_keeps_nothing(store):
    check_shard(store.blobs, OURS, SHARD)
    sealed = store.path.read_bytes()
    for changed in (sealed[:-1], sealed + b"x", sealed[:40] + bytes([sealed[40] ^ 1]) + sealed[41:]):
        store.path.write_bytes(changed)
        with pytest.raises(IntegrityError):
            check_shard(store.blobs, OURS, SHARD)
    assert list(store.work.iterdir()) == []
    store.path.unlink()
    with pytest.raises(IntegrityError, match="missing"):
        check_shard(store.blobs, OURS, SHARD)

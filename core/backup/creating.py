"""Making a backup of a running server: one sealed stream, made piece by piece while it is sent."""

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final

import orjson

from core.backup.archive import END, Entry, entry_bytes, write_entry
from core.backup.header import Header, head_hash
from core.backup.manifest import HASHES_NAME, MANIFEST_NAME, is_shard, place_of
from core.backup.snapshot import Snapshot, take_snapshot
from core.crypto.keys import new_file_key, wrap_backup_key
from core.crypto.sealedfile import Purpose, seal_stream, sealed_bytes
from core.errors import Unavailable
from core.ids import new_id
from core.records.control import ControlStore
from core.shards.archive import read_chunks

KEY_VERSION: Final = 1  # each backup has a key of its own


class Backup:
    """A backup that is ready to be sent. ``size`` is how many bytes it will be."""

    def __init__(self, header: Header, key: bytes, snapshot: Snapshot) -> None:
        self.header = header
        self._key = key
        self._snapshot = snapshot
        self._manifest = snapshot.manifest.model_dump_json().encode()
        self._entries = [Entry(MANIFEST_NAME, len(self._manifest)), *snapshot.manifest.entries()]
        hashes = len(_hashes({entry.name: "0" * 64 for entry in self._entries}))
        plain = sum(map(entry_bytes, [*self._entries, Entry(HASHES_NAME, hashes)])) + len(END)
        self.size = len(header.to_bytes()) + sealed_bytes(plain)

    def chunks(self) -> Iterator[bytes]:
        """Yield the backup, once. Raises ``IntegrityError`` when a shard is damaged, ``Frozen`` when a freeze began."""
        head = self.header.to_bytes()
        yield head
        where = ("backup", self.header.backup, head_hash(head))
        for chunk in seal_stream(
            self._archive(), key=self._key, key_version=KEY_VERSION, purpose=Purpose.BACKUP, where=where
        ):
            self._snapshot.keep()
            yield chunk

    def _archive(self) -> Iterator[bytes]:
        hashes: dict[str, str] = {}
        for entry in self._entries:
            digest = hashlib.sha256()
            yield from write_entry(entry, _hashed(self._read(entry), digest))
            hashes[entry.name] = digest.hexdigest()
        listed = _hashes(hashes)
        yield from write_entry(Entry(HASHES_NAME, len(listed)), [listed])
        yield END

    def _read(self, entry: Entry) -> Iterable[bytes]:
        if entry.name == MANIFEST_NAME:
            return [self._manifest]
        if is_shard(entry.name):
            company, _, blob = entry.name.partition("/")
            return self._snapshot.blobs[company].get(blob)
        return read_chunks(place_of(entry.name, self._snapshot.folder))


@contextmanager
def open_backup(control: ControlStore, company: str | None = None) -> Iterator[Backup]:
    """Yield a backup of the whole store, or of one company (its id); what it needs is kept until the block ends.

    The server goes on meanwhile. Raises ``Frozen``, and ``Unavailable`` when another backup is being made, a key is
    rotated meanwhile, or the disk cannot hold a copy of the record stores.
    """
    backup, key, now = new_id("backup"), new_file_key(), control.clock()
    with take_snapshot(control, backup, company) as snapshot:
        master = control.master
        if master.key_id != snapshot.master_key:
            raise Unavailable(
                "the master key was rotated while the backup began; make it again", code="rotated_meanwhile"
            )
        header = Header(
            backup=backup,
            created_at=now,  # not later than what it holds: a deletion is judged by it
            store=snapshot.store,
            master_key=master.key_id,
            companies=len(snapshot.manifest.companies),
            wrapped_key=wrap_backup_key(master, backup, key),
        )
        yield Backup(header, key, snapshot)


def _hashed(chunks: Iterable[bytes], digest: "hashlib._Hash") -> Iterator[bytes]:
    for chunk in chunks:
        digest.update(chunk)
        yield chunk


def _hashes(found: dict[str, str]) -> bytes:
    return orjson.dumps(found)

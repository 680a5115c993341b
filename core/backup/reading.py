"""Reading a backup: everything in it is authentic before it is used, and all of it is there before it is trusted."""

import hashlib
from collections.abc import Callable, Iterator
from typing import BinaryIO, Final

import orjson

from core.backup.archive import ArchiveReader, Entry
from core.backup.creating import KEY_VERSION
from core.backup.header import Header, head_hash, read_header
from core.backup.manifest import HASHES_NAME, MANIFEST_NAME, Manifest, parse_manifest
from core.crypto.keys import MasterKey, unwrap_backup_key
from core.crypto.sealedfile import CHUNK_BYTES, Purpose, open_stream
from core.errors import IntegrityError, WrongKey

_TEXT_BYTES_MAX: Final = 256 * 2**20  # of a manifest, which is read into memory: two million shards


class BackupReader:
    """An opened backup: its header and manifest, and its files, to be read once and in order."""

    def __init__(self, source: BinaryIO, find_key: Callable[[Header], MasterKey]) -> None:
        """Read up to the manifest. Raises ``WrongKey`` for another key, ``IntegrityError``, and what it raises."""
        self.header, head = read_header(source)
        master = find_key(self.header)
        if master.key_id != self.header.master_key:
            raise WrongKey(f"the backup needs master key {self.header.master_key}, the one at hand is {master.key_id}")
        key = unwrap_backup_key(master, self.header.backup, self.header.wrapped_key)
        pieces = open_stream(
            iter(lambda: source.read(CHUNK_BYTES), b""),
            key=key,
            key_version=KEY_VERSION,
            purpose=Purpose.BACKUP,
            where=("backup", self.header.backup, head_hash(head)),
        )
        self.master = master
        self._archive = ArchiveReader(pieces)
        self._hashes: dict[str, str] = {}
        self.manifest: Manifest = parse_manifest(self._text(MANIFEST_NAME))

    def files(self) -> Iterator[tuple[Entry, Iterator[bytes]]]:
        """Yield each file and its bytes, which must be taken; only when the iteration has ended is the backup whole.

        Raises ``IntegrityError`` when a byte was changed, something is missing, or something was added.
        """
        for expected in self.manifest.entries():
            entry = self._archive.next()
            if entry != expected:
                raise IntegrityError("the backup does not hold the files that its manifest tells of")
            yield entry, self._hashed(entry)
        found = dict(self._hashes)
        if orjson.loads(self._text(HASHES_NAME)) != found:
            raise IntegrityError("a file in the backup is not the one that was saved")
        self._archive.end()

    def _text(self, name: str) -> bytes:
        entry = self._archive.next()
        if entry.name != name or entry.size > _TEXT_BYTES_MAX:
            raise IntegrityError(f"the backup has no {name} where it should be")
        return b"".join(self._hashed(entry))

    def _hashed(self, entry: Entry) -> Iterator[bytes]:
        digest = hashlib.sha256()
        for piece in self._archive.take(entry):
            digest.update(piece)
            yield piece
        self._hashes[entry.name] = digest.hexdigest()

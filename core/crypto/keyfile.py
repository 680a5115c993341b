"""A master key in a file: the current one, the next while a rotation is under way, and those before.

    <file>               the current key
    <file>.next          the next one, from ``prepare_next`` until ``promote``
    <file>.old-<key id>  one that was replaced: backups made before still need it

Promotion copies the current key aside, then renames the next over it, so that at every moment there is a current key.
What a file holds is its format's business: the key itself, or the key sealed by somebody who can open it.
"""

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

from core.crypto.keys import MASTER_KEY_BYTES, MasterKey
from core.crypto.keytext import decode_key, encode_key
from core.durability import make_durable_directory, sync, write_whole
from core.errors import ConfigurationError
from core.privacy import read_private


class KeyFormat(Protocol):
    """What lies in a key file."""

    def make(self) -> bytes:
        """Return the content for a new key."""

    def open(self, content: bytes, source: str) -> MasterKey:
        """Return the key that a content holds. Raises ``ConfigurationError``, ``Unavailable`` naming the source."""


class PlainFormat:
    """The key itself, in base64."""

    def make(self) -> bytes:
        """Return a new key from the operating system."""
        return encode_key(MasterKey(secrets.token_bytes(MASTER_KEY_BYTES)))

    def open(self, content: bytes, source: str) -> MasterKey:
        """Return the key. Raises ``ConfigurationError``."""
        return decode_key(content, source)


class KeyFile:
    """A key source whose keys lie in files that only we can read."""

    def __init__(self, path: Path, content: KeyFormat, kind: str) -> None:
        self.where = f"{kind} {path}"
        self._path = path
        self._next = path.with_name(f"{path.name}.next")
        self._format = content

    def find(self, key_id: str | None) -> MasterKey | None:
        """Return the key of that id, else the current one, else ``None``; see ``KeySource``.

        A rotation that died before its promotion is ended here: the store already names the next key.
        """
        current = self._read(self._path)
        if key_id is None or (current is not None and current.key_id == key_id):
            return current
        # The file is read again in case another process promoted the next key between our two looks.
        for found in map(self._read, (self._next, self._path)):
            if found is not None and found.key_id == key_id:
                with suppress(ConfigurationError):  # a folder we may not write to: the next key serves as it is
                    self.promote(found)
                return found
        return current

    def find_replaced(self, key_id: str) -> MasterKey | None:
        """Return a key that was replaced, if its file is still there: for a backup, never for the store.

        Raises ``ConfigurationError``, and what the format raises.
        """
        found = self._read(self._old(key_id))
        return found if found is not None and found.key_id == key_id else None

    def prepare_next(self) -> MasterKey:
        """Return the next key, durable beside the current one; one left by an attempt before is taken.

        Raises ``ConfigurationError``, and what the format raises.
        """
        with self._locked():
            if (left := self._read(self._next)) is not None:
                return left
            content = self._format.make()
            write_whole(self._next, [content])
            return self._format.open(content, str(self._next))

    def promote(self, key: MasterKey) -> None:
        """Make the next key the current one, durably; without effect once it is. Raises ``ConfigurationError``."""
        with self._locked():
            current, following = self._read(self._path), self._read(self._next)
            if current is not None and current.key_id == key.key_id:
                return
            if following is None or following.key_id != key.key_id:
                raise ConfigurationError(f"{self._next} does not hold key {key.key_id}; rotate again")
            if current is not None:
                with suppress(FileExistsError):  # an attempt before got this far
                    write_whole(self._old(current.key_id), [read_private(self._path)])
            self._next.rename(self._path)
            sync(self._path.parent)

    def _old(self, key_id: str) -> Path:
        return self._path.with_name(f"{self._path.name}.old-{key_id}")

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Let one process at a time change the files; what the disk refuses is said in a line."""
        folder = self._path.parent
        try:
            make_durable_directory(folder)
            descriptor = os.open(folder, os.O_RDONLY)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                yield
            finally:
                os.close(descriptor)
        except OSError as error:
            raise ConfigurationError(
                f"no key can be written beside {self._path}: {error.strerror}; make the folder writable"
            ) from None

    def _read(self, path: Path) -> MasterKey | None:
        try:
            content = read_private(path)
        except FileNotFoundError:
            return None
        return self._format.open(content, str(path))

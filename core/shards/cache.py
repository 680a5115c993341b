"""The host's cache of opened shards, in RAM-backed tmpfs: the only place where index files are in the clear.

    <root>/shards/<shard>/…   one opened shard; every process of the host maps these files
    <root>/work/<member>/…    what one process is building, opening or viewing

Each process holds a shared lock on the cache, and one of its own, while it lives. Whoever comes first, or leaves
last, holds the cache alone and wipes it; whoever comes later clears the work of members that died.
"""

import fcntl
import hashlib
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil
from filelock import FileLock

from core.errors import ConfigurationError, Unavailable

_MEMORY_FILE_SYSTEMS = frozenset({"tmpfs", "ramfs"})


class ShardCache:
    """Opened shards of one data directory on this host, bounded in bytes, least recently opened out first."""

    def __init__(self, base: Path, data_directory: Path, bytes_max: int, *, allow_disk: bool = False) -> None:
        """Join the cache. Raises ``ConfigurationError`` when ``base`` is not in memory and disk is not allowed."""
        if not allow_disk and not in_memory(base):
            raise ConfigurationError(
                f"[cache] path: {base} is not a tmpfs, opened shards would lie on a disk in the clear; "
                "choose a tmpfs directory, or set [cache] allow_disk if you accept that"
            )
        mark = hashlib.sha256(str(data_directory.resolve()).encode()).hexdigest()[:16]
        self.root = base / f"ostraka-{os.getuid()}-{mark}"
        self.bytes_max = bytes_max
        self.hits = self.misses = self.evictions = 0  # of this process; two threads at once may count as one
        try:
            self._users, alone = _join(base / f"{self.root.name}.lock")
        except OSError as error:
            raise ConfigurationError(f"[cache] path: {base} cannot be used: {error.strerror}; choose another") from None
        if alone:
            shutil.rmtree(self.root, ignore_errors=True)
            fcntl.flock(self._users, fcntl.LOCK_SH)
        try:
            _make_private(self.root)
        except ConfigurationError:
            os.close(self._users)
            raise
        for folder in ("shards", "work"):
            (self.root / folder).mkdir(exist_ok=True, mode=0o700)
        self._clear_dead_members()
        self.own = Path(tempfile.mkdtemp(dir=self.root / "work"))
        self._alive = _open_private(self.own.with_suffix(".alive"))
        fcntl.flock(self._alive, fcntl.LOCK_EX)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Leave the cache; the last process wipes it."""
        if self._users < 0:
            return
        shutil.rmtree(self.own, ignore_errors=True)
        self.own.with_suffix(".alive").unlink(missing_ok=True)
        os.close(self._alive)
        if _lock(self._users, fcntl.LOCK_EX | fcntl.LOCK_NB):
            shutil.rmtree(self.root, ignore_errors=True)
            self.root.with_name(f"{self.root.name}.lock").unlink(missing_ok=True)
        os.close(self._users)
        self._users = -1

    def open(self, shard: str, fill: Callable[[Path], None], in_use: Collection[str] = ()) -> Path:
        """Return the folder of an opened shard, calling ``fill(folder)`` to make it if no process has yet.

        One process fills, the others wait. ``in_use`` are shards that must not be evicted to make room. Raises
        what ``fill`` raises, and ``Unavailable`` when the tmpfs is full; nothing half-made stays.
        """
        folder = self.root / "shards" / shard
        if _touch(folder):
            self.hits += 1
            return folder
        self.misses += 1
        with FileLock(self.root / "work" / f"{shard}.lock"):
            if not folder.is_dir():
                with self.workspace() as workspace:
                    made = workspace / shard
                    made.mkdir()
                    _filled(fill, made)
                    self._make_room(_size(made), {shard, *in_use})
                    made.rename(folder)
        return folder

    def adopt(self, shard: str, built: Path) -> None:
        """Move a folder that this process has just built and sealed into the cache, so that nobody opens it anew."""
        self._make_room(_size(built), {shard})
        built.rename(self.root / "shards" / shard)

    def drop(self, shard: str) -> None:
        """Remove an opened shard; processes that have it mapped keep their pages until they let go."""
        with self.workspace() as workspace, suppress(FileNotFoundError):
            (self.root / "shards" / shard).rename(workspace / shard)  # at once: nobody opens half a shard

    def idle(self, seconds: float) -> set[str]:
        """Return the shards that no process has opened for so long; some may still be mapped."""
        before = time.time() - seconds
        return {folder.name for folder in (self.root / "shards").iterdir() if _opened_at(folder) <= before}

    @contextmanager
    def workspace(self) -> Iterator[Path]:
        """Yield a private folder in the cache's tmpfs, removed afterwards."""
        folder = Path(tempfile.mkdtemp(dir=self.own))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def used_bytes(self) -> int:
        """Return the bytes of all opened shards."""
        return sum(_size(folder) for folder in (self.root / "shards").iterdir())

    def _clear_dead_members(self) -> None:
        """Remove what members left that were killed: the kernel has dropped their locks."""
        for mark in (self.root / "work").glob("*.alive"):
            with suppress(FileNotFoundError):
                descriptor = os.open(mark, os.O_RDWR | os.O_CLOEXEC)
                try:
                    if _lock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB):
                        shutil.rmtree(mark.with_suffix(""), ignore_errors=True)
                        mark.unlink()
                finally:
                    os.close(descriptor)

    def _make_room(self, needed: int, keep: Collection[str]) -> None:
        folders = [folder for folder in (self.root / "shards").iterdir() if folder.name not in keep]
        sizes = {folder: _size(folder) for folder in folders}
        used = sum(sizes.values()) + needed
        for folder in sorted(folders, key=_opened_at):
            if used <= self.bytes_max:
                return
            self.drop(folder.name)
            self.evictions += 1
            used -= sizes[folder]


def in_memory(path: Path) -> bool:
    """Say whether a path lies on a RAM-backed file system."""
    resolved = path.resolve()
    mounts = {Path(part.mountpoint): part.fstype for part in psutil.disk_partitions(all=True)}
    mount = next((folder for folder in (resolved, *resolved.parents) if folder in mounts), None)
    return mount is not None and mounts[mount] in _MEMORY_FILE_SYSTEMS


def _filled(fill: Callable[[Path], None], folder: Path) -> None:
    try:
        fill(folder)
    except OSError as error:
        raise Unavailable(
            f"the shard cache cannot be written: {error.strerror}; enlarge the tmpfs of [cache] path", code="cache_full"
        ) from None


def _join(path: Path) -> tuple[int, bool]:
    """Take the lock of a cache; return its descriptor and whether we hold it alone.

    The last one out removes the file, so a lock that we waited for may be on a file that is gone: then try again.
    """
    while True:
        descriptor = _open_private(path)
        alone = _lock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not alone:
            fcntl.flock(descriptor, fcntl.LOCK_SH)
        with suppress(FileNotFoundError):
            if path.stat().st_ino == os.fstat(descriptor).st_ino:
                return descriptor, alone
        os.close(descriptor)


def _open_private(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _make_private(folder: Path) -> None:
    """Make a folder that only we can enter; the directory around it may be everybody's, as /dev/shm is."""
    folder.mkdir(exist_ok=True, mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise ConfigurationError(f"[cache] path: {folder} belongs to somebody else; remove it or choose another path")
    folder.chmod(0o700)


def _touch(folder: Path) -> bool:
    """Mark a shard as used just now; say whether it is there."""
    try:
        os.utime(folder)
    except FileNotFoundError:
        return False
    return True


def _lock(descriptor: int, how: int) -> bool:
    try:
        fcntl.flock(descriptor, how)
    except BlockingIOError:
        return False
    return True


def _size(folder: Path) -> int:
    total = 0
    for parent, _, names in os.walk(folder):  # what another process removes meanwhile counts nothing
        for name in names:
            with suppress(FileNotFoundError):
                total += (Path(parent) / name).lstat().st_size
    return total


def _opened_at(folder: Path) -> float:
    try:
        return folder.stat().st_mtime
    except FileNotFoundError:  # dropped by another process meanwhile
        return 0.0

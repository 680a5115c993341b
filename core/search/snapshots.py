"""Opened namespaces: one immutable snapshot for each generation, shared by the searches of a process."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager

from sqlalchemy import Connection

from core.ids import new_id
from core.records.company import Namespace
from core.records.shardlist import ShardRecord, live_shards
from core.shards.cache import ShardCache
from core.shards.postings_view import TextView
from core.shards.reader import OpenShard

OPEN_MAX = 64  # namespaces a process keeps open: each costs a watcher thread

# Opens a shard without evicting others by their public ids; none where nothing of it is left.
Opener = Callable[[Namespace, ShardRecord, Collection[str]], OpenShard | None]

# Raises unless the shards of a namespace, as a transaction lists them, are those last committed.
Check = Callable[[Connection, Namespace], None]


class Snapshot:
    """The shards of a namespace at one generation, with one text view over them."""

    def __init__(self, generation: int, shards: Sequence[OpenShard], text: TextView) -> None:
        self.generation = generation
        self.shards = shards
        self.text = text
        self.users = 0
        self.retired = False


class SnapshotStore:
    """Keeps recently used snapshots open; an older one is closed when its last search is done."""

    def __init__(self, opener: Opener, check: Check, cache: ShardCache) -> None:
        self._opener = opener
        self._check = check
        self._cache = cache
        self._open: OrderedDict[int, Snapshot] = OrderedDict()
        self._lock = threading.Lock()
        self._openers: dict[int, threading.Lock] = {}

    @contextmanager
    def at(self, connection: Connection, namespace: Namespace, generation: int) -> Iterator[Snapshot]:
        """Yield the snapshot of a generation that ``connection``'s transaction sees.

        Raises what opener and check raise; ``Unavailable`` when the cache is full.
        """
        snapshot = self._borrow(namespace.id, generation) or self._make(connection, namespace, generation)
        try:
            yield snapshot
        finally:
            with self._lock:
                snapshot.users -= 1
                last = snapshot.retired and not snapshot.users
            if last:
                snapshot.text.close()

    def generations(self) -> dict[int, int]:
        """Return the generation of each open snapshot by its namespace's row id."""
        with self._lock:
            return {namespace_id: snapshot.generation for namespace_id, snapshot in self._open.items()}

    def close(self) -> None:
        """Close every snapshot."""
        for namespace_id in list(self._open):
            self._retire(namespace_id)

    def _borrow(self, namespace_id: int, generation: int) -> Snapshot | None:
        with self._lock:
            snapshot = self._open.get(namespace_id)
            if snapshot is None or snapshot.generation != generation:
                return None
            self._open.move_to_end(namespace_id)
            snapshot.users += 1
            return snapshot

    def _make(self, connection: Connection, namespace: Namespace, generation: int) -> Snapshot:
        with self._lock:
            opener = self._openers.setdefault(namespace.id, threading.Lock())
        with opener:
            if snapshot := self._borrow(namespace.id, generation):
                return snapshot
            snapshot = self._build(connection, namespace, generation)
            snapshot.users = 1
            with self._lock:
                current = self._open.get(namespace.id)
                newest = current is None or current.generation < generation
            if newest:
                self._retire(namespace.id)
                with self._lock:
                    self._open[namespace.id] = snapshot
                    oldest = next(iter(self._open)) if len(self._open) > OPEN_MAX else None
                if oldest is not None:
                    self._retire(oldest)
            else:  # a search that began before the one that opened the present generation
                snapshot.retired = True
            return snapshot

    def _build(self, connection: Connection, namespace: Namespace, generation: int) -> Snapshot:
        self._check(connection, namespace)
        records = live_shards(connection, namespace.id)
        names = {record.public_id for record in records}
        before = self._open.get(namespace.id)
        # A shard that the cache evicted meanwhile is opened anew: its text must be linked once more.
        known = {shard.id: shard for shard in before.shards if shard.text_folder.is_dir()} if before else {}
        opened = [known.get(record.public_id) or self._opener(namespace, record, names) for record in records]
        shards = [shard for shard in opened if shard is not None]
        view = self._cache.own / new_id("view")
        return Snapshot(generation, shards, TextView.open(view, [shard.text_folder for shard in shards]))

    def _retire(self, namespace_id: int) -> None:
        with self._lock:
            snapshot = self._open.pop(namespace_id, None)
            if snapshot is None:
                return
            snapshot.retired = True
            idle = not snapshot.users
        if idle:
            snapshot.text.close()

"""Shards whose blob is missing, refused or unreadable: searched all the same, marked, looked at again, built anew.

What a shard holds can be had from the record store: its rows, by the ids that the shard list keeps. So a search opens
a substitute built from them, and answers as if nothing had happened. A blob that is missing or refused is put in
quarantine: maintenance looks once more, and compaction rewrites the shard when it is no better. One that merely cannot
be read (a disk that fails, a mount that is away) is not, because all of a store may be unreadable for a while; only the
scrub, which comes by slowly, quarantines such a one.
"""

import random
import sys
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Final

import structlog
from sqlalchemy.exc import NoResultFound

from core.errors import IntegrityError, KeyUnusable, NotFound, OstrakaError, StaleGeneration, Unavailable
from core.pipeline.building import open_rows
from core.pipeline.patience import Patience
from core.records.company import CompanyRecords, Namespace
from core.records.counters import read_counter, set_counter
from core.records.members import shard_members
from core.records.quarantine import quarantine_shard, quarantined_shards, release_shard, unmarked_shards
from core.records.shardlist import ShardRecord
from core.shards.blobs import Blobs
from core.shards.builder import GraphSettings, build_shard
from core.shards.cache import ShardCache
from core.shards.opening import open_shard
from core.shards.reader import OpenShard
from core.shards.sealing import check_shard, fetch_shard

log = structlog.get_logger()

SCRUB_EVERY_S: Final = 600.0
SCRUB_BYTES: Final = 256 * 2**20  # of blobs each time, and one shard at least: 0.4 MB/s
_PLACE: Final = "scrub"  # the shard up to which the scrub has come
_NO_GRAPH: Final = GraphSettings(m=4, ef_construction=4, threads=1, rows_min=sys.maxsize)  # quick to build, and exact


class Repair:
    """Opens the shards of one company whatever became of their blobs, and finds those that must be built anew."""

    def __init__(
        self,
        records: CompanyRecords,
        blobs: Blobs,
        cache: ShardCache,
        dim: int,
        ring: Callable[[], None],
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        """``ring()`` asks for maintenance soon."""
        self._records = records
        self._blobs = blobs
        self._cache = cache
        self._dim = dim
        self._ring = ring
        self._stopping = stopping
        self._patience = Patience(records.clock, random.Random())  # noqa: S311 - spreads load, guards nothing

    def open(self, namespace: Namespace, shard: ShardRecord, in_use: Collection[str] = ()) -> OpenShard | None:
        """Return a shard, or its substitute; ``None`` when no row of it is left.

        Raises ``Unavailable`` when cache or record store fail, ``StaleGeneration`` when the shard is long gone.
        """

        def substitute(folder: Path, error: OstrakaError) -> None:
            self._report(namespace, shard, error)
            if isinstance(error, IntegrityError):
                self._quarantine(shard)
            self._build_substitute(namespace, shard, folder)

        try:
            return open_shard(
                self._cache, self._blobs, namespace.key, shard.public_id, shard.fingerprint, in_use, substitute
            )
        except NotFound:
            return None

    def recheck(self) -> int:
        """Look again at the shards in quarantine; return how many were released, because their blobs are sound."""
        with self._records.database.read() as connection:
            marked = quarantined_shards(connection)
        return sum(self._recheck(namespace, shard) for namespace, shard in marked if not self._stopping())

    def scrub(self) -> int:
        """Authenticate the next shards, before a reader needs them; return how many were put in quarantine.

        Raises ``Unavailable`` when the object store is away.
        """
        with self._records.database.read() as connection:
            shards = unmarked_shards(connection, read_counter(connection, _PLACE))
        found, size, place = 0, 0, 0
        for namespace, shard in shards:
            if size and (size + shard.bytes > SCRUB_BYTES or self._stopping()):
                break
            found += self._scrub(namespace, shard)
            size += shard.bytes
            place = shard.id
        else:  # none is left: from the beginning next time
            place = 0
        with self._records.database.write() as connection:
            set_counter(connection, _PLACE, place)
        return found

    def _scrub(self, namespace_id: int, shard: ShardRecord) -> bool:
        namespace = self._namespace(namespace_id)
        if namespace is None:
            return False
        try:
            check_shard(self._blobs, namespace.key, shard.public_id)
        except KeyUnusable:  # nothing is known of the shard
            return False
        except (IntegrityError, Unavailable) as error:
            if isinstance(error, Unavailable):
                self._blobs.check()  # where all of an object store is away, no shard is at fault
            self._report(namespace, shard, error)
            self._quarantine(shard)
            return True
        return False

    def _recheck(self, namespace_id: int, shard: ShardRecord) -> bool:
        """Open a shard's blob as a reader would, in a place that no reader sees."""
        namespace = self._namespace(namespace_id)
        if namespace is None or not self._patience.allows(shard.public_id):
            return False
        with self._cache.workspace() as workspace:
            folder = workspace / shard.public_id
            folder.mkdir()
            try:
                fetch_shard(self._blobs, namespace.key, shard.public_id, folder)
                OpenShard(shard.public_id, folder, shard.fingerprint)
            except (IntegrityError, Unavailable):
                self._patience.failed(shard.public_id)
                return False
        self._patience.succeeded(shard.public_id)
        with self._records.database.write() as connection:
            release_shard(connection, shard.id)
        log.info("shard_released", namespace=namespace.public_id, shard=shard.public_id)
        return True

    def _namespace(self, namespace_id: int) -> Namespace | None:
        """Return a namespace, if it was not deleted meanwhile, and its key opens."""
        try:
            return self._records.namespace_by_id(namespace_id)
        except (NotFound, IntegrityError):
            return None

    def _build_substitute(self, namespace: Namespace, shard: ShardRecord, folder: Path) -> None:
        try:
            with self._records.database.read() as connection:
                members = shard_members(connection, shard.id).tolist()
        except NoResultFound:  # a reader that was paused for longer than replaced shards are kept
            raise StaleGeneration("the shard was replaced and removed meanwhile; search again") from None
        found = open_rows(self._records, namespace, members, shard.fingerprint, self._dim)
        if not found.rows:
            raise NotFound("no row of the shard is left")
        build_shard(folder, found.rows, shard.fingerprint, _NO_GRAPH)

    def _report(self, namespace: Namespace, shard: ShardRecord, error: OstrakaError) -> None:
        log.error("shard_refused", namespace=namespace.public_id, shard=shard.public_id, reason=error.reason)

    def _quarantine(self, shard: ShardRecord) -> None:
        """Mark the shard and ask for maintenance; where nothing can be written, the scrub comes by again."""
        if shard.quarantined_at is not None:
            return
        try:
            with self._records.database.write() as connection:
                quarantine_shard(connection, shard.id, self._records.clock())
        except Unavailable as error:
            log.warning("quarantine_not_written", shard=shard.public_id, reason=error.reason)
        self._ring()

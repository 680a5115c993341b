"""Building a shard from the record store: open the rows, write the files in tmpfs, seal, put.

A row that no shard can be built with is found by halving, so that it ends alone.
"""

import math
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import structlog

from core.embedding.runtime import Embedder
from core.errors import OstrakaError, Unavailable
from core.ids import new_id
from core.observing.observer import Observer
from core.pipeline.embedding import BROKEN
from core.pipeline.plans import tier_of
from core.records.company import CompanyRecords, Namespace
from core.records.rows import shard_rows
from core.records.shardlist import Absorbed, NewShard, fetch_rows
from core.records.tables import State
from core.shards.attributes import AttributeRow
from core.shards.blobs import Blobs
from core.shards.builder import GraphSettings, ShardRow, build_shard
from core.shards.cache import ShardCache
from core.shards.sealing import blob_name, put_shard

log = structlog.get_logger()

UNINDEXABLE: Final = "indexing_failed"
_FETCH_ROWS: Final = 500
_OURS: Final = (OstrakaError, OSError, MemoryError)  # what building raises when the fault is not the rows'
_ROOM_FACTOR: Final = 8  # tmpfs that building may need, as a multiple of what goes in; tantivy hides a full disk


@dataclass
class OpenedRows:
    """Rows as the record store has them now; those that were erased are in none of the lists but ``masked``."""

    rows: list[ShardRow] = field(default_factory=list)
    broken: list[int] = field(default_factory=list)
    embedded: list[int] = field(default_factory=list)
    masked: list[tuple[int, bool]] = field(default_factory=list)  # and whether it is deleted


@dataclass(frozen=True)
class Built:
    """A shard that is stored but not live, and what its rows showed."""

    shard: NewShard | None
    indexed: Sequence[int]
    absorbed: Absorbed
    broken: Sequence[int]  # their bytes are not what was written
    poison: Sequence[int]  # no shard can be built with them


def open_rows(
    records: CompanyRecords, namespace: Namespace, ids: Sequence[int], fingerprint: str, dim: int
) -> OpenedRows:
    """Open rows for a shard, each authenticated. Raises ``Unavailable``."""
    found = OpenedRows()
    with records.database.read() as connection:
        for start in range(0, len(ids), _FETCH_ROWS):
            fetched = fetch_rows(connection, namespace.id, ids[start : start + _FETCH_ROWS])
            opened, refused = shard_rows(namespace, fetched, fingerprint, dim)
            found.rows += opened
            found.broken += refused
            found.masked += [(row.id, row.state == State.DELETED) for row in fetched if row.overlay]
            found.embedded += [row.id for row in fetched if row.state == State.EMBEDDED]
    if found.broken:
        log.error("rows_refused", reason=BROKEN, rows=len(found.broken), namespace=namespace.public_id)
    return found


def absorbed(masked: Iterable[tuple[int, bool]]) -> Absorbed:
    """Return masked rows by what a shard shows of them."""
    rows = list(masked)
    return Absorbed([row for row, deleted in rows if deleted], [row for row, deleted in rows if not deleted])


def culprits(rows: Sequence[ShardRow], builds: Callable[[Sequence[ShardRow]], bool]) -> list[ShardRow]:
    """Return those of ``rows``, which do not build together, that do not build at all; found by halving."""
    if len(rows) == 1:
        return list(rows)
    half = len(rows) // 2
    return [bad for part in (rows[:half], rows[half:]) if not builds(part) for bad in culprits(part, builds)]


class ShardBuilder:
    """Builds the shards of one company."""

    def __init__(
        self,
        records: CompanyRecords,
        blobs: Blobs,
        cache: ShardCache,
        embedder: Embedder,
        graph: GraphSettings,
        observer: Observer,
    ) -> None:
        self._records = records
        self._blobs = blobs
        self._cache = cache
        self._embedder = embedder
        self._graph = graph
        self._observer = observer

    def build(self, namespace: Namespace, ids: Sequence[int]) -> Built:
        """Build, seal and store a shard of these rows; the opened files go straight into the cache.

        Rows that are broken or poison are left out and named. Raises ``Unavailable`` when the disk or the cache
        fails, and what the builder raises when the fault is not the rows'.
        """
        with self._observer.stage("build", rows=len(ids)):
            return self._build(namespace, ids)

    def _build(self, namespace: Namespace, ids: Sequence[int]) -> Built:
        started = time.perf_counter()
        fingerprint, key = self._embedder.fingerprint, namespace.key.newest
        found = open_rows(self._records, namespace, ids, fingerprint, self._embedder.dim)
        shard = new_id("sh")
        with self._cache.workspace() as workspace:
            folder = workspace / shard
            poison = self._write(folder, found.rows) if found.rows else []
            kept = [row.attributes.id for row in found.rows if row.attributes.id not in set(poison)]
            indexed = sorted(set(found.embedded) - {*found.broken, *poison})
            if not kept:
                return Built(None, indexed, absorbed(found.masked), found.broken, poison)
            size = put_shard(self._blobs, key, shard, folder, workspace / "archive.tar")
            self._cache.adopt(shard, folder)
        tier = tier_of(len(kept))
        seconds = time.perf_counter() - started
        log.info("shard_built", namespace=namespace.public_id, shard=shard, tier=tier, rows=len(kept), seconds=seconds)
        new = NewShard(shard, tier, len(kept), size, key.version, fingerprint, seconds, kept)
        return Built(new, indexed, absorbed(found.masked), found.broken, poison)

    def discard(self, namespace_public_id: str, shard: str) -> None:
        """Remove a shard that no reader can list any more."""
        self._cache.drop(shard)
        self._blobs.delete(blob_name(namespace_public_id, shard))

    def _write(self, folder: Path, rows: Sequence[ShardRow]) -> list[int]:
        """Write a shard's files, without the rows that it cannot be built with; return their ids."""
        try:
            self._try(folder, rows)
            return []
        except _OURS:
            raise
        except Exception as error:  # whatever the libraries raise for a row
            log.error("build_failed", error=type(error).__name__, rows=len(rows))
            shutil.rmtree(folder)
            self._refuse_without_room(rows)
            poison = culprits(rows, self._builds) if self._builds([_plain_row(self._embedder.dim)]) else []
            if not poison:  # ours, or the machine's
                raise
        bad = {row.attributes.id for row in poison}
        if rest := [row for row in rows if row.attributes.id not in bad]:
            self._try(folder, rest)
        return sorted(bad)

    def _builds(self, rows: Sequence[ShardRow]) -> bool:
        with self._cache.workspace() as scratch:
            try:
                self._try(scratch / "trial", rows)
            except _OURS:
                raise
            except Exception:  # noqa: BLE001 - as above
                return False
        return True

    def _try(self, folder: Path, rows: Sequence[ShardRow]) -> None:
        folder.mkdir()
        build_shard(folder, rows, self._embedder.fingerprint, self._graph)

    def _refuse_without_room(self, rows: Sequence[ShardRow]) -> None:
        """Raise ``Unavailable`` when the tmpfs may have been too small: then no row is at fault."""
        needed = _ROOM_FACTOR * sum(len(row.text.encode()) + row.vectors.nbytes for row in rows)
        if shutil.disk_usage(self._cache.own).free < needed:
            raise Unavailable("the shard cache may be full; enlarge the tmpfs of [cache] path", code="cache_full")


def _plain_row(dim: int) -> ShardRow:
    """Return a row that every sound builder takes."""
    attributes = AttributeRow(1, 1, None, None, None, None, [], None, {})
    return ShardRow(attributes, 0, "plain", np.full((1, dim), 1 / math.sqrt(dim), np.float32))

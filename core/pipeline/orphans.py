"""Files that nothing lists: blobs whose commit never came, rests of puts that were cut off, opened shards of either.

A file may be there before the commit that lists it. So it must be old, and the record store is asked once more right
before it is removed. A worker that was paused for longer than that between its put and its commit makes a shard live
whose blob is gone: it is searched by its substitute and built anew.
"""

import math
import re
import time
from collections.abc import Callable, Iterable
from pathlib import PurePath
from typing import Final

import structlog
from sqlalchemy import Connection, select

from core.errors import Unavailable
from core.records.company import CompanyRecords
from core.records.tables import shards
from core.shards.blobs import Blobs
from core.shards.cache import ShardCache

log = structlog.get_logger()

ORPHAN_AGE_S: Final = 3_600.0  # longer than the largest shard takes from put to commit
SWEEP_EVERY_S: Final = 600.0
_COMMIT_S: Final = 60.0  # a commit waits for the writer's lock for half of this at most
_IDS_PER_STATEMENT: Final = 500
_BLOB: Final = re.compile(r"ns_\w+/(sh_\w+)\.shard")
_REST: Final = re.compile(r"ns_\w+/sh_\w+\.shard#\d+")  # obstore's name for a put under way


def sweep_blobs(records: CompanyRecords, blobs: Blobs) -> int:
    """Remove the old files of a company's blob store that no shard lists; return how many. Others' files stay."""
    deadline = records.clock() - int(orphan_age_s(records) * 1e6)
    old = [file for file in blobs.files() if file.modified_at <= deadline]
    rests = [file.name for file in old if _REST.fullmatch(file.name)]
    found = {PurePath(file.name).stem: file.name for file in old if _BLOB.fullmatch(file.name)}
    with records.database.read() as connection:
        candidates = found.keys() - listed_shards(connection, found)
    removed = sum(_remove(blobs, name) for name in rests)
    for shard in sorted(candidates):
        with records.database.read() as connection:
            if listed_shards(connection, [shard]):
                continue
        removed += _remove(blobs, found[shard])
    return removed


def orphan_age_s(records: CompanyRecords) -> float:
    """Return how old a file must be. It may hold what was deleted, so that it must go well before the purge is due."""
    return max(_COMMIT_S, min(ORPHAN_AGE_S, records.purge_us / 8e6))


class CacheSweep:
    """Keeps the host's cache free of shards that no company lists."""

    def __init__(self, cache: ShardCache, stores: Callable[[], Iterable[CompanyRecords]]) -> None:
        """Build it; ``stores()`` gives the record store of every company."""
        self._cache = cache
        self._stores = stores
        self._due_at = -math.inf

    def look(self) -> int:
        """Drop what nobody has opened for long and nobody lists, now and then; return how many.

        Raises ``IntegrityError``, ``Unavailable`` when a company cannot be asked; then nothing is dropped.
        """
        if time.monotonic() < self._due_at:
            return 0
        self._due_at = time.monotonic() + SWEEP_EVERY_S
        return self.drop_unlisted(ORPHAN_AGE_S)

    def drop_unlisted(self, idle_s: float) -> int:
        """Drop what nobody has opened for so long and nobody lists; return how many. Raises as :meth:`look` does."""
        unlisted = self._cache.idle(idle_s)
        for records in self._stores() if unlisted else ():
            with records.database.read() as connection:
                unlisted -= listed_shards(connection, unlisted)
        for shard in unlisted:
            self._cache.drop(shard)
        return len(unlisted)


def listed_shards(connection: Connection, public_ids: Iterable[str]) -> set[str]:
    """Return those of some shards that the record store knows, live or retired."""
    wanted = list(public_ids)
    found: set[str] = set()
    for start in range(0, len(wanted), _IDS_PER_STATEMENT):
        statement = select(shards.c.public_id).where(shards.c.public_id.in_(wanted[start : start + _IDS_PER_STATEMENT]))
        found.update(connection.execute(statement).scalars())
    return found


def _remove(blobs: Blobs, name: str) -> bool:
    try:
        blobs.delete(name)
    except Unavailable as error:  # tried again by the next sweep
        log.error("blob_not_removed", name=name, code=error.reason)
        return False
    return True

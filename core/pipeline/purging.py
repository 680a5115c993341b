"""Following deletions until the index files and the log are free of them; only then does the receipt say so.

A row has left when no search masks it any more (no live shard holds it), no shard that is listed, live or replaced,
was built with it, no blob lies there that nobody lists, and the write-ahead log was emptied after its erasure.
"""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import Final

import numpy as np
import structlog
from sqlalchemy import Connection, select

from core.records.claims import in_chunks
from core.records.company import CompanyRecords
from core.records.members import unpack_ids
from core.records.receipts import mark_purged, unpurged
from core.records.tables import memories, shards
from core.shards.blobs import Blobs
from core.shards.sealing import blob_name

log = structlog.get_logger()

_LOOK_EVERY_US: Final = 5_000_000  # emptying the log makes writers wait for the disk


class PurgeWatch:
    """Watches the deletions of one company."""

    def __init__(self, records: CompanyRecords, blobs: Blobs) -> None:
        self._records = records
        self._blobs = blobs
        self._looked_at: int | None = None
        self._out_of_log: frozenset[int] = frozenset()  # receipts, as far as this process knows

    def look(self) -> int:
        """Empty the log of what was erased, mark the deletions of which no file is left; return how many."""
        now = self._records.clock()
        if self._looked_at is not None and 0 <= now - self._looked_at < _LOOK_EVERY_US:
            return 0
        self._looked_at = now
        with self._records.database.read() as connection:
            waiting = unpurged(connection)
        finished = frozenset(row.id for row in waiting)
        if not finished <= self._out_of_log and self._records.database.checkpoint():
            self._out_of_log = finished
        settled = [row for row in waiting if not row.masked and row.id in self._out_of_log]
        if not settled:
            return 0
        stored = {file.name for file in self._blobs.files()}
        gone: list[int] = []
        for namespace_id, namespace in {(row.namespace_id, row.namespace) for row in settled}:
            mine = [row.id for row in settled if row.namespace_id == namespace_id]
            files = {name for name in stored if name.startswith(f"{namespace}/")}
            gone += self._gone(namespace_id, namespace, files, mine)
        if gone:
            with self._records.database.write() as connection:
                mark_purged(connection, gone, now)
            log.info("deletions_purged", deletions=len(gone))
        return len(gone)

    def _gone(self, namespace_id: int, namespace: str, files: AbstractSet[str], receipts: Sequence[int]) -> list[int]:
        """Return the receipts whose rows no shard was built with."""
        with self._records.database.read() as connection:
            statement = select(shards.c.public_id, shards.c.members).where(shards.c.namespace_id == namespace_id)
            listed = {blob_name(namespace, row.public_id): row.members for row in connection.execute(statement)}
            if files - listed.keys():  # being built, or left by a crash: nobody has written down what it holds
                return []
            if not listed:
                return list(receipts)
            owners = _owners(connection, receipts)
        rows = np.fromiter(owners, np.int64, len(owners))
        held = {owners[row] for members in listed.values() for row in rows[np.isin(rows, unpack_ids(members))].tolist()}
        return [receipt for receipt in receipts if receipt not in held]


def _owners(connection: Connection, receipts: Sequence[int]) -> dict[int, int]:
    """Return the receipt of each row that they erased."""
    owners: dict[int, int] = {}
    for ids in in_chunks(receipts):
        found = connection.execute(select(memories.c.id, memories.c.deletion_id).where(memories.c.deletion_id.in_(ids)))
        owners.update({row.id: row.deletion_id for row in found})
    return owners

"""The embed stage: claim pending rows, embed their text, store the sealed vectors.

While one batch is on the cores, the one before it is committed and the next is claimed, so that the cores do not
wait for the disk.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import structlog
from sqlalchemy import Row

from core.embedding.runtime import Embedder, Vectors
from core.errors import IntegrityError, NotFound
from core.records.claims import claim_pending, fail_claimed, has_pending, release_claim, store_vectors
from core.records.company import CompanyRecords, Namespace
from core.records.rows import open_content, seal_vectors, searchable_text
from core.records.tables import Lane

log = structlog.get_logger()

BROKEN = "integrity"
EXHAUSTED = "attempts_exhausted"
POISON = "embedding_failed"


@dataclass(frozen=True)
class EmbedSettings:
    """How much to claim, for how long, and how often a row may be tried."""

    batch_rows: int
    lease_us: int
    attempts_max: int


@dataclass(frozen=True)
class _Batch:
    """Claimed rows with their texts opened."""

    token: str
    namespaces: Sequence[Namespace]
    rows: Sequence[int]
    texts: Sequence[str]


class EmbedStage:
    """Embeds the pending memories of one company."""

    def __init__(
        self,
        records: CompanyRecords,
        embedder: Embedder,
        settings: EmbedSettings,
        on_embedded: Callable[[int], None],
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        """``on_embedded(rows)`` is called after each commit; ``stopping()`` ends a drain after the batch at hand."""
        self._records = records
        self._embedder = embedder
        self._settings = settings
        self._on_embedded = on_embedded
        self._stopping = stopping

    def drain(self, lane: Lane) -> int:
        """Embed until no row of the lane can be claimed; return how many were stored.

        A claim of an error that is not the rows' own is given back before the error goes on.
        """
        # Adds come one by one from callers who wait for their answers: the API keeps the other cores.
        embed = partial(self._embedder.embed_passages, spread=lane is Lane.BULK)
        stored = 0
        with ThreadPoolExecutor(1, thread_name_prefix="embed") as runner:
            running: tuple[_Batch, Future[list[Vectors]]] | None = None
            claimed: list[_Batch] = []  # the one on the cores, and the one behind it
            try:
                while True:
                    batch = None if self._stopping() else self._claim(lane)
                    claimed += [batch] if batch else []
                    future = runner.submit(embed, batch.texts) if batch else None
                    if running:
                        stored += self._store(*running)
                        claimed.pop(0)
                    running = (batch, future) if batch and future else None
                    if running is None:
                        return stored
            except BaseException:
                for held in claimed:
                    self._release(held)
                raise

    def _claim(self, lane: Lane) -> _Batch | None:
        """Claim rows and open them; broken and exhausted ones end here."""
        while self._anything(lane):
            now = self._records.clock()
            with self._records.database.write() as connection:
                token, rows = claim_pending(
                    connection, lane, now=now, lease_us=self._settings.lease_us, limit=self._settings.batch_rows
                )
                exhausted = [row.id for row in rows if row.attempts > self._settings.attempts_max]
                fail_claimed(connection, token, exhausted, EXHAUSTED, now)
            batch = self._open(token, [row for row in rows if row.attempts <= self._settings.attempts_max])
            if batch.rows:
                return batch
        return None

    def _anything(self, lane: Lane) -> bool:
        """Look before taking the writer's turn: most drains end with nothing left to claim."""
        with self._records.database.read() as connection:
            return has_pending(connection, lane, self._records.clock())

    def _open(self, token: str, rows: Sequence[Row[Any]]) -> _Batch:
        namespaces, ids, texts, broken = [], [], [], []
        for row in rows:
            try:
                namespace = self._records.namespace_by_id(row.namespace_id)
                text = searchable_text(open_content(namespace, row.id, row.sealed))
            except IntegrityError:
                broken.append(row.id)
            except NotFound:  # the namespace was deleted a moment ago, and its rows with it
                continue
            else:
                namespaces.append(namespace)
                ids.append(row.id)
                texts.append(text)
        if broken:
            log.error("rows_refused", reason=BROKEN, rows=len(broken))
            with self._records.database.write() as connection:
                fail_claimed(connection, token, broken, BROKEN, self._records.clock())
        return _Batch(token, namespaces, ids, texts)

    def _store(self, batch: _Batch, future: Future[list[Vectors]]) -> int:
        vectors = self._vectors(batch, future)
        sealed = [
            (row, seal_vectors(namespace, row, found))
            for namespace, row, found in zip(batch.namespaces, batch.rows, vectors, strict=True)
            if found is not None
        ]
        poison = [row for row, found in zip(batch.rows, vectors, strict=True) if found is None]
        with self._records.database.write() as connection:
            stored = store_vectors(connection, batch.token, sealed, self._embedder.fingerprint)
            fail_claimed(connection, batch.token, poison, POISON, self._records.clock())
        self._on_embedded(stored)
        return stored

    def _vectors(self, batch: _Batch, future: Future[list[Vectors]]) -> Sequence[Vectors | None]:
        """Return the batch's vectors; where it failed as a whole, one by one, ``None`` for the texts at fault.

        When every text fails, the fault is not the texts': the error goes on, and the claim is given back.
        """
        try:
            return future.result()
        except Exception as error:  # whatever the model raises for a text
            log.error("batch_failed", error=type(error).__name__, rows=len(batch.rows))
            found = [self._alone(text) for text in batch.texts]
            if all(vectors is None for vectors in found):
                raise
            return found

    def _alone(self, text: str) -> Vectors | None:
        try:
            return self._embedder.embed_passages([text])[0]
        except Exception:  # noqa: BLE001 - as above
            return None

    def _release(self, batch: _Batch) -> None:
        with self._records.database.write() as connection:
            release_claim(connection, batch.token)

"""The embed stage: claim pending rows, embed their text, store the sealed vectors.

While one batch is on the cores, the one before it is committed and the next is claimed, so that the cores do not
wait for the disk.

A row that was tried before and did not end is suspect: it may have killed its worker. Suspects are tried in ever
smaller batches, one batch in the process at a time and nothing claimed ahead, so that a death counts against few.
"""

import random
import threading
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Final

import structlog
from sqlalchemy import Connection

from core.embedding.runtime import Embedder, Vectors
from core.errors import Frozen, KeyUnusable, Unavailable
from core.observing.observer import Observer
from core.pipeline.backoff import backoff_s
from core.pipeline.claimed import Batch, open_claim, unusable_among
from core.pipeline.patience import Patience
from core.records.claims import Claim, claim_pending, fail_claimed, next_attempts, release_claim, store_vectors
from core.records.company import CompanyRecords
from core.records.rows import seal_vectors
from core.records.tables import Lane

log = structlog.get_logger()

# Why a memory failed: stable codes, described in docs/errors.md.
BROKEN = "integrity"
EXHAUSTED = "attempts_exhausted"
POISON = "embedding_failed"

_BATCHES: Final = {Lane.INTERACTIVE: 1, Lane.BULK: 2}  # claimed at a time

_BACKOFF_BASE_S: Final = 5.0  # the first wait at most; doubled for each further one
_BACKOFF_CAP_S: Final = 300.0
_LOOK_EVERY_S: Final = 0.1  # how soon a batch on the cores is handed back when the process is told to stop


# Nothing that a text can bring about. What is not listed is counted against the rows, so that every row ends.
_NOT_THEIRS: Final = (Unavailable, OSError, MemoryError)


class _Stopped(Exception):
    """The process was told to stop while a batch was on the cores."""


@dataclass(frozen=True)
class EmbedSettings:
    """How much to claim, for how long, and how often a row may be tried."""

    batch_rows: int  # of the interactive lane; a backfill's batches are larger, because nobody waits for one of them
    lease_us: int
    attempts_max: int


@dataclass(frozen=True)
class _Debt:
    """A claim to be given back, once the store can be written again."""

    claim: Claim
    retry_at: int | None
    counted: bool


class EmbedStage:
    """Embeds the pending memories of one company. Each lane is drained by one thread at a time."""

    def __init__(
        self,
        records: CompanyRecords,
        embedder: Embedder,
        settings: EmbedSettings,
        on_embedded: Callable[[int], None],
        *,
        suspecting: threading.Lock,
        rng: random.Random,
        stopping: Callable[[], bool] = lambda: False,
        observer: Observer | None = None,
    ) -> None:
        """``on_embedded(rows)`` is called after each commit; ``stopping()`` ends a drain, its claims handed back.

        ``suspecting`` is held while suspects are tried: one lock for all stages of a process.
        """
        self._records = records
        self._embedder = embedder
        self._settings = settings
        self._on_embedded = on_embedded
        self._suspecting = suspecting
        self._rng = rng
        self._stopping = stopping
        self._observer = observer or Observer()
        self._patience = Patience(records.clock, rng)  # with namespaces whose key cannot be used
        self._faults = 0  # in a row, of what the rows stand on: the store, the disk
        self._owed: dict[Lane, list[_Debt]] = {lane: [] for lane in Lane}

    def drain(self, lane: Lane) -> None:
        """Embed until no row of the lane can be claimed, or the process is told to stop.

        A text that the model refuses is tried again later, and failed after the last attempt; its batch-mates are
        stored. Any other error is raised, after the claims were given back; the attempt counts against the rows
        unless it cannot be their fault (``Unavailable``, ``OSError``, ``MemoryError``).
        """
        owed, self._owed[lane] = self._owed[lane], []
        for debt in owed:
            self._release(lane, debt)
        runner = ThreadPoolExecutor(1, thread_name_prefix="embed")
        try:
            with suppress(_Stopped):
                progress = True
                while progress and (attempts := self._next(lane)) is not None:
                    progress = self._try_suspects(lane, runner) if attempts else self._drain_fresh(lane, runner)
        finally:
            runner.shutdown(cancel_futures=True)

    def _next(self, lane: Lane) -> int | None:
        """Look before taking the writer's turn: most drains end with nothing left to claim."""
        if self._stopping():
            return None
        with self._records.database.read() as connection:
            return next_attempts(connection, lane, self._records.clock())

    def _drain_fresh(self, lane: Lane, runner: ThreadPoolExecutor) -> bool:
        """Embed until the next row is a suspect, or there is none; return whether anything was claimed."""
        running: tuple[Batch, Future[list[Vectors]]] | None = None
        progress = False
        with self._holding(lane) as held:
            while True:
                batch = self._claim(lane, held, fresh_only=True)
                future = self._submit(lane, runner, batch) if batch else None
                if running:
                    self._store(lane, held, *running)
                running = (batch, future) if batch and future else None
                if running is None:
                    return progress
                progress = True

    def _try_suspects(self, lane: Lane, runner: ThreadPoolExecutor) -> bool:
        """Embed one batch of suspects; return whether there was one."""
        with self._suspecting, self._holding(lane) as held:
            batch = self._claim(lane, held, fresh_only=False)
            if batch:
                self._store(lane, held, batch, self._submit(lane, runner, batch))
            return batch is not None

    def _submit(self, lane: Lane, runner: ThreadPoolExecutor, batch: Batch) -> "Future[list[Vectors]]":
        # Adds come one by one from callers who wait for their answers: the API keeps the other cores.
        place = self._observer.tracer.current()

        def embed() -> list[Vectors]:
            with self._observer.stage("embed", parent=place, rows=len(batch.texts)):
                return self._embedder.embed_passages(batch.texts, spread=lane is Lane.BULK)

        return runner.submit(embed)

    def _claim(self, lane: Lane, held: list[Claim], *, fresh_only: bool) -> Batch | None:
        """Claim rows and open them; broken and exhausted ones end here, those without a usable key wait."""
        while (attempts := self._next(lane)) is not None and not (fresh_only and attempts):
            try:
                claim = self._lease(lane, fresh_only=fresh_only)
            except Frozen:  # no work begins; what is in hand is finished
                return None
            held.append(claim)
            self._end_exhausted(claim)
            batch = self._open(claim)
            if batch.rows:
                return batch
            held.remove(claim)
        return None

    def _lease(self, lane: Lane, *, fresh_only: bool) -> Claim:
        now, rows_max = self._records.clock(), self._settings.batch_rows * _BATCHES[lane]
        with self._observer.stage("claim"), self._records.database.write(synced=False, shared=True) as connection:
            claim = claim_pending(
                connection,
                lane,
                now=now,
                lease_us=self._settings.lease_us,
                limit=rows_max,
                attempts_max=self._settings.attempts_max,
                fresh_only=fresh_only,
            )
        self._observer.claimed(lane, len(claim.rows), rows_max, claim.taken_over)
        return claim

    def _end_exhausted(self, claim: Claim) -> None:
        if claim.exhausted:
            with self._records.database.write(finishing=True, synced=False) as connection:
                self._fail(connection, claim, claim.exhausted, EXHAUSTED)

    def _open(self, claim: Claim) -> Batch:
        batch = open_claim(self._records, claim)
        if batch.broken or batch.outdated or batch.aside:
            with self._records.database.write(finishing=True) as connection:
                self._fail(connection, claim, batch.broken, BROKEN)
                self._retry_or_fail(connection, claim, batch.outdated, BROKEN)
                self._set_aside(connection, claim, batch.aside, batch.unusable)
        return batch

    def _store(self, lane: Lane, held: list[Claim], batch: Batch, future: "Future[list[Vectors]]") -> None:
        vectors = self._vectors(batch, future)
        refused = [row for row, found in zip(batch.rows, vectors, strict=True) if found is None]
        with (
            self._observer.stage("store", rows=len(batch.rows)),
            self._records.database.write(finishing=True, synced=False, shared=not refused) as connection,
        ):
            unusable = unusable_among(connection, batch.namespaces, self._patience)
            sealed = [
                (row, seal_vectors(namespace, row, found))
                for namespace, row, found in zip(batch.namespaces, batch.rows, vectors, strict=True)
                if found is not None and namespace.id not in unusable
            ]
            stored = store_vectors(connection, batch.claim.token, sealed, self._embedder.fingerprint)
            self._retry_or_fail(connection, batch.claim, refused, POISON)
            pairs = zip(batch.namespaces, batch.rows, strict=True)
            aside = [row for namespace, row in pairs if namespace.id in unusable]
            self._set_aside(connection, batch.claim, aside, unusable)
        held.remove(batch.claim)
        self._observer.embedded(lane, stored, len(sealed) - stored)
        self._faults = 0
        if stored:
            self._on_embedded(stored)

    def _fail(self, connection: Connection, claim: Claim, rows: Sequence[int], reason: str) -> None:
        if rows:
            log.error("rows_failed", reason=reason, rows=len(rows))
            self._observer.failed(reason, len(rows))
            fail_claimed(connection, claim.token, rows, reason, self._records.clock())

    def _retry_or_fail(self, connection: Connection, claim: Claim, rows: Sequence[int], reason: str) -> None:
        """Let rows be tried again later, but for those that were tried often enough."""
        attempts = claim.rows[0].attempts
        if attempts >= self._settings.attempts_max:
            self._fail(connection, claim, rows, reason)
            return
        retry_at = self._records.clock() + self._backoff_us(attempts)
        release_claim(connection, claim.token, rows, retry_at=retry_at, counted=True)

    def _set_aside(self, connection: Connection, claim: Claim, rows: Sequence[int], unusable: AbstractSet[int]) -> None:
        """Give back the rows of namespaces whose key cannot be used; that is no fault of theirs."""
        if not rows:
            return
        retry_s = max(self._patience.failed(str(namespace_id)) for namespace_id in unusable)
        log.error("rows_set_aside", reason=KeyUnusable.code, rows=len(rows), retry_s=retry_s)
        retry_at = self._records.clock() + int(retry_s * 1e6)
        release_claim(connection, claim.token, rows, retry_at=retry_at)

    def _vectors(self, batch: Batch, future: "Future[list[Vectors]]") -> Sequence[Vectors | None]:
        """Return the batch's vectors; where it failed as a whole, one by one, ``None`` for those that fail alone."""
        while not wait([future], _LOOK_EVERY_S).done:
            if self._stopping():
                raise _Stopped
        try:
            return future.result()
        except Exception as error:  # noqa: BLE001 - whatever the model raises for a text
            found = [self._alone(text) for text in batch.texts]
            refused = sum(vectors is None for vectors in found)
            log.error("batch_failed", error=type(error).__name__, rows=len(found), refused=refused)
            return found

    def _alone(self, text: str) -> Vectors | None:
        if self._stopping():
            raise _Stopped
        try:
            return self._embedder.embed_passages([text])[0]
        except Exception:  # noqa: BLE001 - as in the batch
            return None

    @contextmanager
    def _holding(self, lane: Lane) -> Iterator[list[Claim]]:
        """Yield a list of the claims in hand; what is on it when an error comes is given back."""
        held: list[Claim] = []
        try:
            yield held
        except BaseException as error:
            leaving = isinstance(error, _Stopped) or not isinstance(error, Exception)
            self._faults += not leaving
            retry_at = None if leaving else self._records.clock() + self._backoff_us(self._faults)
            for claim in held:
                self._release(lane, _Debt(claim, retry_at, counted=not leaving and not isinstance(error, _NOT_THEIRS)))
            raise

    def _release(self, lane: Lane, debt: _Debt) -> None:
        """Give a claim back; when the store cannot be written, before this lane's next claim."""
        rows = [row.id for row in debt.claim.rows]
        try:
            with self._records.database.write(finishing=True, synced=False, shared=True) as connection:
                release_claim(connection, debt.claim.token, rows, retry_at=debt.retry_at, counted=debt.counted)
        except (Unavailable, OSError):
            self._owed[lane].append(debt)

    def _backoff_us(self, failures: int) -> int:
        return int(1e6 * backoff_s(failures, base_s=_BACKOFF_BASE_S, cap_s=_BACKOFF_CAP_S, rng=self._rng))

"""The query service: one synchronous search over a consistent snapshot.

Embed the query; read the namespace's generation and overlay; ask both arms, masks applied inside; fuse; lend to
session neighbours; open the rows of the best, each authenticated, and drop what the record store says is gone.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import structlog
from sqlalchemy import Connection, Row

from core import limits
from core.embedding.runtime import Embedder, Vectors
from core.errors import Conflict, IntegrityError, NotFound
from core.records.company import CompanyRecords, Namespace
from core.records.overlay import Masked, masked_rows
from core.records.reading import view
from core.records.rows import attribute_row, open_content
from core.records.shardlist import NamespaceState, namespace_state
from core.records.tables import State
from core.search.candidates import fetch_candidates, fetch_successors
from core.search.fusion import Arm, Fused, lend_to_neighbours, linear, rrf
from core.search.request import Answer, Fusion, Hit, Scope, SearchRequest
from core.search.snapshots import Snapshot, SnapshotStore
from core.search.stopwatch import Stopwatch
from core.search.visibility import matches, visible
from core.shards.attributes import Attributes
from core.shards.sessions import NO_SESSION, NONE, neighbours

log = structlog.get_logger()

_EXCLUDED_MAX = 1_000  # ids a text query passes over one by one; beyond it the allowed ones are listed


@dataclass(frozen=True)
class Ranking:
    """How the arms are asked and joined."""

    fusion: Fusion
    weight_dense: float
    neighbour_share: float
    ef_search: int


class QueryService:
    """Searches the namespaces of one company."""

    def __init__(
        self,
        records: CompanyRecords,
        snapshots: SnapshotStore,
        embedder: Embedder,
        ranking: Ranking,
        text_arms: Executor,
    ) -> None:
        """``text_arms`` runs the text arm of a search while its query is being embedded."""
        self._records = records
        self._snapshots = snapshots
        self._embedder = embedder
        self._ranking = ranking
        self._text_arms = text_arms
        self._overlays: dict[int, tuple[int, Mapping[int, Masked]]] = {}
        self.refused = 0  # rows passed over since this process started, because they do not open

    def search(self, namespace: Namespace, request: SearchRequest) -> Answer:
        """Answer a search.

        Raises ``NotFound`` when the namespace was deleted, ``Conflict`` when it was indexed with another model,
        ``Unavailable`` when the cache is full. Rows whose bytes are not what was written are passed over and logged.
        """
        clock = Stopwatch()
        now = self._records.clock()
        with self._records.database.read() as connection:
            state = self._state(connection, namespace, needs_model=request.mode != "text")
            with ExitStack() as stack:
                with clock("open"):
                    overlay = self._overlay(connection, namespace.id, state)
                    snapshot = stack.enter_context(self._snapshots.at(connection, namespace, state.generation))
                run = _Run(snapshot, overlay, request, now, self._ranking, clock)
                fused, vectors = self._rank(run, request, clock)
                with clock("hydrate"):
                    hits = run.hydrate(connection, namespace, fused, vectors)
        if run.refused:
            log.error("rows_refused", reason=IntegrityError.code, rows=run.refused, namespace=namespace.public_id)
            self.refused += run.refused
        return Answer(hits, state.generation, clock.parts)

    def _rank(self, run: "_Run", request: SearchRequest, clock: Stopwatch) -> tuple[Fused, Vectors | None]:
        """Ask the arms; the text arm while the model has the query, since the model leaves the interpreter free."""
        if request.mode == "text":
            return run.rank(run.match(), 0.0), None
        with clock("embed"):
            windows = self._embedder.cut_query(request.query)
            coverage = self._embedder.coverage(request.query)
            text = None if request.mode == "vector" else self._text_arms.submit(run.match)
            vectors = self._embedder.embed_windows(windows)
        run.approach(vectors)
        return run.rank(text.result() if text else None, coverage), vectors

    def _state(self, connection: Connection, namespace: Namespace, *, needs_model: bool) -> NamespaceState:
        state = namespace_state(connection, namespace.id)
        if state is None:
            self._records.forget(namespace)
            raise NotFound("there is no such namespace; the first write creates it", field="namespace")
        if needs_model and state.fingerprint not in {None, self._embedder.fingerprint}:
            raise Conflict(
                "this namespace was indexed with another embedding model; configure that model again",
                code="model_mismatch",
            )
        return state

    def _overlay(self, connection: Connection, namespace_id: int, state: NamespaceState) -> Mapping[int, Masked]:
        known = self._overlays.get(namespace_id)
        if known is None or known[0] != state.overlay_version:
            known = (state.overlay_version, masked_rows(connection, namespace_id))
            self._overlays[namespace_id] = known
        return known[1]


class _Run:
    """One search on one snapshot."""

    def __init__(
        self,
        snapshot: Snapshot,
        overlay: Mapping[int, Masked],
        request: SearchRequest,
        now: int,
        ranking: Ranking,
        clock: Stopwatch,
    ) -> None:
        self._snapshot = snapshot
        self._request = request
        self._now = now
        self._ranking = ranking
        self._clock = clock
        self._arms: dict[str, Arm] = {}
        self.refused = 0
        with clock("filter"):
            self._masks = [visible(shard, overlay, request.scope, now) for shard in snapshot.shards]

    @property
    def _depth(self) -> int:
        return max(limits.ARM_DEPTH, self._request.limit)

    def match(self) -> Arm:
        """Ask the text arm."""
        with self._clock("text"):
            return self._matching()

    def approach(self, vectors: Vectors) -> None:
        """Ask the vector arm."""
        with self._clock("vector"):
            self._arms["vector"] = self._nearest(vectors)

    def rank(self, matched: Arm | None, coverage: float) -> Fused:
        """Return the fused ranking of the arms, neighbours included."""
        if matched is not None:
            self._arms["text"] = matched
        with self._clock("fuse"):
            return self._lend(self._fuse(coverage))

    def _fuse(self, coverage: float) -> Fused:
        if len(self._arms) == 1:
            [(ids, scores)] = self._arms.values()
            return ids, scores.astype(np.float64)
        dense, text = self._arms["vector"], self._arms["text"]
        if self._ranking.fusion == "rrf":
            return rrf([dense, text])
        return linear(dense, text, self._ranking.weight_dense, coverage)

    def _nearest(self, vectors: Vectors) -> Arm:
        found = [
            shard.nearest(vectors, self._depth, self._ranking.ef_search, mask)
            for shard, mask in zip(self._snapshot.shards, self._masks, strict=True)
        ]
        if not found:
            return np.empty(0, np.uint64), np.empty(0, np.float32)
        ids = np.concatenate([ids for ids, _ in found]).astype(np.uint64)
        scores = np.concatenate([scores for _, scores in found])
        order = np.lexsort((ids, -scores))[: self._depth]
        return ids[order], scores[order]

    def _matching(self) -> Arm:
        pairs = list(zip(self._snapshot.shards, self._masks, strict=True))
        if all(mask is None for mask in self._masks):
            return self._snapshot.text.search(self._request.query, self._depth)
        hidden = sum(int(np.count_nonzero(~mask)) for mask in self._masks if mask is not None)
        if hidden <= _EXCLUDED_MAX:
            excluded = [shard.ids[~mask] for shard, mask in pairs if mask is not None]
            return self._snapshot.text.search(
                self._request.query, self._depth, excluded=np.concatenate(excluded).astype(np.uint64)
            )
        allowed = np.concatenate([shard.ids if mask is None else shard.ids[mask] for shard, mask in pairs])
        return self._snapshot.text.search(self._request.query, self._depth, allowed=np.sort(allowed).astype(np.uint64))

    def _lend(self, fused: Fused) -> Fused:
        share = self._ranking.neighbour_share
        if not share or self._request.mode != "hybrid" or not fused[0].size:
            return fused
        ids = fused[0].astype(np.int64)
        shards = self._snapshot.shards
        rows = [shard.locate(ids) for shard in shards]
        keys = np.full(len(ids), NO_SESSION, np.uint64)
        for shard, places in zip(shards, rows, strict=True):
            held = places != NONE
            keys[held] = shard.sessions.row_keys[places[held]]
        if not keys.any():
            return fused
        before, after = neighbours([shard.sessions for shard in shards], keys, ids, rows, self._masks)
        return lend_to_neighbours(fused, before, after, share)

    def hydrate(
        self, connection: Connection, namespace: Namespace, fused: Fused, vectors: Vectors | None
    ) -> Sequence[Hit]:
        """Open the rows of the best candidates until ``limit`` stand; each is authenticated, or passed over."""
        hits: list[Hit] = []
        seen: set[int] = set()
        for start in range(0, len(fused[0]), self._request.limit):
            ids = [int(id_) for id_ in fused[0][start : start + self._request.limit]]
            rows = fetch_candidates(connection, namespace.id, ids)
            forwarded = (
                {} if self._request.scope.as_of is not None else fetch_successors(connection, namespace.id, rows)
            )
            for offset, id_ in enumerate(ids):
                try:
                    row = self._standing(rows.get(id_), forwarded, namespace)
                    if row is None or row.id in seen:
                        continue
                    hits.append(self._hit(namespace, row, id_, float(fused[1][start + offset]), vectors))
                except IntegrityError:  # one row that was tampered with must not take the others with it
                    self.refused += 1
                    continue
                seen.add(row.id)
                if len(hits) == self._request.limit:
                    return hits
        return hits

    def _standing(
        self, row: Row[Any] | None, forwarded: Mapping[int, Row[Any]], namespace: Namespace
    ) -> Row[Any] | None:
        """Return the row that answers for a candidate, its successor if that is not searchable yet."""
        if row is None:
            return None
        as_of = self._request.scope.as_of
        if row.closed_at is not None and (as_of is None or row.closed_at <= as_of):
            while row is not None and row.closed_by is not None:
                # A successor is younger; a column that was tampered with must not lead in a circle.
                row = forwarded.get(row.closed_by) if row.closed_by > row.id else None
            if row is None or row.closed_at is not None or not self._allows(namespace, row):
                return None
        gone = row.state == State.DELETED or row.sealed is None
        expired = row.expires_at is not None and row.expires_at <= self._now
        return None if gone or expired else row

    def _allows(self, namespace: Namespace, row: Row[Any]) -> bool:
        scope: Scope = self._request.scope
        if row.sealed is None or scope.is_open:
            return row.sealed is not None
        stored = open_content(namespace, row.id, row.sealed)
        return bool(matches(Attributes.of([attribute_row(row, stored)]), scope)[0])

    def _hit(self, namespace: Namespace, row: Row[Any], candidate: int, score: float, vectors: Vectors | None) -> Hit:
        similarity = None if vectors is None else self._similarity(candidate, vectors)
        explanation = self._explain(candidate) if self._request.explain else None
        return Hit(view(namespace, row), score, similarity, explanation)

    @cached_property
    def _similarities(self) -> Mapping[int, float]:
        ids, scores = self._arms["vector"]
        return dict(zip(ids.tolist(), scores.tolist(), strict=True))

    def _similarity(self, candidate: int, vectors: Vectors) -> float | None:
        if (known := self._similarities.get(candidate)) is not None:
            return known
        for shard in self._snapshot.shards:
            row = int(shard.locate(np.array([candidate]))[0])
            if row >= 0:
                return shard.similarity(row, vectors)
        return None

    def _explain(self, candidate: int) -> Mapping[str, Any]:
        result: dict[str, Any] = {}
        for name, (ids, scores) in self._arms.items():
            place = np.flatnonzero(ids == candidate)
            if place.size:
                result[name] = {"rank": int(place[0]) + 1, "score": float(scores[place[0]])}
        return result

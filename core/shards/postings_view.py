"""Searching the text segments of a namespace as one index.

The segments' files are hard-linked into one directory under a merged ``meta.json``. tantivy then counts
documents and terms over all of them, so BM25 scores do not depend on how memories fell into shards.
"""

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import tantivy
from numpy.typing import NDArray

from core.errors import IntegrityError, InvalidInput
from core.shards.postings import ANALYZER_NAME, ID_FIELD, META_FILE, TEXT_FIELD, english_stemmer, read_meta
from core.text.analysis import Clause, query_clauses

TIES_MAX: Final = 10_000  # hits; equal scores beyond this are cut in index order, not by id
SKIPPED_MAX: Final = 10_000  # hits (3 ms) worth reading past to spare a filter in the query (4 to 14 ms)
_FETCH_GROWTH: Final = 4  # how much more is fetched when too few were left
_COMPONENTS: Final = ("fast", "fieldnorm", "idx", "pos", "store", "term")

Ids = NDArray[np.uint64]
Hits = tuple[NDArray[np.uint64], NDArray[np.float32]]


class TextView:
    """A read-only BM25 index over some segments; safe to search from several threads.

    An open view owns its directory and one watcher thread of tantivy's; ``close`` gives both back.
    """

    def __init__(self, directory: Path, index: tantivy.Index | None) -> None:
        self._directory = directory
        self._schema = index.schema if index else tantivy.SchemaBuilder().build()
        self._searcher = index.searcher() if index else None
        self._closed = False

    @classmethod
    def open(cls, view_dir: Path, segment_dirs: Sequence[Path]) -> Self:
        """Link the segments of ``segment_dirs`` into ``view_dir``, made for it and on their file system.

        No segments make an empty view. Raises ``IntegrityError`` when a segment's files are missing or
        unreadable, come from another analyzer, or occur twice; ``FileExistsError`` when ``view_dir`` is
        there already. Nothing is left behind after an error.
        """
        view_dir.mkdir(parents=True)
        try:
            if not segment_dirs:
                return cls(view_dir, None)
            _link_segments(view_dir, segment_dirs)
            try:
                return cls(view_dir, tantivy.Index.open(str(view_dir)))
            except ValueError as error:  # tantivy raises nothing else
                raise IntegrityError(f"the text index cannot be opened: {error}") from error
        except BaseException:
            shutil.rmtree(view_dir, ignore_errors=True)
            raise

    def search(self, query: str, depth: int, allowed: Ids | None = None, excluded: Ids | None = None) -> Hits:
        """Return up to ``depth`` ids (uint64) and BM25 scores (float32), best first, equal scores by lower id.

        ``allowed``: sorted unique uint64, the only ids that may appear; ``excluded``: uint64 in any order,
        ids that may not. Neither changes a score. A query without a term finds nothing. Equal scores are
        ordered by id up to ``TIES_MAX`` of them. Any text is a query: there is no query syntax.

        Raises ``InvalidInput`` for a depth below 1 and ``ValueError`` after ``close``.
        """
        if depth < 1:
            raise InvalidInput("depth must be at least 1", field="depth")
        if self._closed:
            raise ValueError("search on a closed text view")
        searcher = self._searcher  # our own reference: another thread may close the view meanwhile
        clauses = query_clauses(query)
        if searcher is None or not clauses or (allowed is not None and allowed.size == 0):
            return _no_hits()
        return self._collect(searcher, self._build_query(clauses), depth, allowed, excluded)

    def close(self) -> None:
        """Let go of the index and remove its directory; a second call does nothing.

        A search under way in another thread finishes: its files stay mapped until then.
        """
        self._searcher = None
        self._closed = True
        shutil.rmtree(self._directory, ignore_errors=True)

    def _collect(
        self,
        searcher: tantivy.Searcher,
        query: tantivy.Query,
        depth: int,
        allowed: Ids | None,
        excluded: Ids | None,
    ) -> Hits:
        """Fetch more and more of the ranking until ``depth`` hits pass the filters and their ties are in."""
        total = searcher.num_docs
        first = limit = depth + 1 + (min(excluded.size, depth) if excluded is not None else 0)
        if allowed is not None:
            expected = first * total // allowed.size  # hits to read if filter and query are unrelated
            if expected > SKIPPED_MAX:
                query, allowed = self._restrict(query, allowed), None
            else:
                limit = expected + expected // 4
        while True:
            limit = min(limit, total)
            ids, scores = _fetch(searcher, query, limit)
            exhausted = ids.size < limit or limit == total
            lowest = scores[-1] if scores.size else np.float32(0)
            kept = _passing(ids, allowed, excluded)
            ids, scores = ids[kept], scores[kept]
            if exhausted or (ids.size >= depth and (scores[depth - 1] > lowest or limit >= TIES_MAX)):
                order = np.lexsort((ids, -scores))[:depth]
                return ids[order], scores[order]
            limit *= _FETCH_GROWTH
            if allowed is not None and ids.size < depth and limit > max(SKIPPED_MAX, allowed.size):
                query, allowed, limit = self._restrict(query, allowed), None, first  # filter and query clash

    def _build_query(self, clauses: Sequence[Clause]) -> tantivy.Query:
        stemmer = english_stemmer()  # one per search: sharing it between threads is nowhere promised
        return _any_of([self._build_clause(clause, stemmer) for clause in clauses])

    def _build_clause(self, clause: Clause, stemmer: tantivy.TextAnalyzer) -> tantivy.Query:
        if clause.prefix:
            pattern = f"{clause.alternatives[0][0]}.?"  # one letter of an unspaced script: nothing to escape
            query = tantivy.Query.regex_query(self._schema, TEXT_FIELD, pattern)
        else:
            forms = [self._build_form(stemmer.analyze(" ".join(terms))) for terms in clause.alternatives]
            query = _any_of(forms)
        return query if clause.weight == 1 else tantivy.Query.boost_query(query, float(clause.weight))

    def _build_form(self, terms: list[str]) -> tantivy.Query:
        if len(terms) == 1:
            return tantivy.Query.term_query(self._schema, TEXT_FIELD, terms[0], "freq")
        phrase = tantivy.Query.phrase_query(self._schema, TEXT_FIELD, list(terms))
        # BM25 adds up the rarity of a phrase's words; their mean is at most that of the exact compound,
        # which is in no text without its parts. So the exact token comes before what merely contains it.
        return tantivy.Query.boost_query(phrase, 1 / len(terms))

    def _restrict(self, query: tantivy.Query, allowed: Ids) -> tantivy.Query:
        members = tantivy.Query.term_set_query(self._schema, ID_FIELD, allowed.tolist())
        unscored = tantivy.Query.const_score_query(members, 0.0)
        return tantivy.Query.boolean_query([(tantivy.Occur.Must, query), (tantivy.Occur.Must, unscored)])


def _any_of(queries: list[tantivy.Query]) -> tantivy.Query:
    """Match any of ``queries``; the scores of those that match add up."""
    if len(queries) == 1:
        return queries[0]
    return tantivy.Query.boolean_query([(tantivy.Occur.Should, query) for query in queries])


def _no_hits() -> Hits:
    return np.empty(0, dtype=np.uint64), np.empty(0, dtype=np.float32)


def _fetch(searcher: tantivy.Searcher, query: tantivy.Query, limit: int) -> Hits:
    hits = searcher.search(query, limit, count=False).hits
    ids = searcher.fast_field_values(ID_FIELD, [address for _, address in hits])
    return np.array(ids, dtype=np.uint64), np.array([score for score, _ in hits], dtype=np.float32)


def _passing(ids: Ids, allowed: Ids | None, excluded: Ids | None) -> NDArray[np.bool_]:
    passing = np.ones(ids.size, dtype=np.bool_)
    if allowed is not None:
        place = np.minimum(np.searchsorted(allowed, ids), allowed.size - 1)
        passing &= allowed[place] == ids
    if excluded is not None and excluded.size:
        passing &= ~np.isin(ids, excluded)
    return passing


def _link_segments(view_dir: Path, segment_dirs: Sequence[Path]) -> None:
    merged: dict[str, Any] = {}
    seen: set[str] = set()
    for directory in segment_dirs:
        meta = _read_own_meta(directory)
        merged = merged or {**meta, "segments": []}
        if (meta["schema"], meta["index_settings"]) != (merged["schema"], merged["index_settings"]):
            raise IntegrityError(f"text segment {directory.name} was written with other index settings")
        merged["opstamp"] = max(merged["opstamp"], meta["opstamp"])
        for segment in meta["segments"]:
            identity = segment["segment_id"].replace("-", "")
            if identity in seen:
                raise IntegrityError(f"text segment {identity} occurs twice")
            seen.add(identity)
            _link_files(view_dir, directory, identity)
            merged["segments"].append(segment)
    (view_dir / META_FILE).write_text(json.dumps(merged), encoding="utf-8")


def _read_own_meta(directory: Path) -> dict[str, Any]:
    """Read ``meta.json`` and refuse what ``build_segment`` did not write."""
    try:
        meta = read_meta(directory)
        analyzers = {field["options"]["indexing"]["tokenizer"] for field in meta["schema"] if field["type"] == "text"}
        deletes = [segment["deletes"] for segment in meta["segments"]]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise IntegrityError(f"text segment {directory.name} has no readable description") from error
    if analyzers != {ANALYZER_NAME}:
        raise IntegrityError(f"text segment {directory.name} was not written by analyzer {ANALYZER_NAME}")
    if any(deletes):
        raise IntegrityError(f"text segment {directory.name} was changed after it was built")
    return meta


def _link_files(view_dir: Path, directory: Path, identity: str) -> None:
    for component in _COMPONENTS:
        name = f"{identity}.{component}"
        try:
            os.link(directory / name, view_dir / name)
        except FileNotFoundError as error:
            raise IntegrityError(f"text segment {directory.name} lacks its {component} file") from error

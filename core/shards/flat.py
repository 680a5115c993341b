"""Exact nearest rows by inner product, and the arithmetic that every vector search here shares.

A matrix product is the fastest way to look at all rows, but BLAS adds up in another order at the edge of a
block: the same vector can score differently in another row. So the product only chooses candidates, with a
margin above its rounding error, and ``score_rows`` scores those one row at a time. The same vector and the
same query then score the same, bit for bit, in every shard and by every path: ties are real ties.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

_BLOCK_ROWS: Final = 16_384  # rows of one product, which bounds what many windows need
_GATHER_ROWS: Final = 1_024  # rows copied together before their product: 1.5 MB stay in the cache
_SELECTIVE: Final = 0.2  # share of allowed rows below which gathering them beats reading all (measured)


def score_rows(vectors: Floats, rows: Rows, query: Floats) -> Floats:
    """Score chosen rows: the inner product with the best of the query's windows.

    ``vectors`` float32[n, dim], ``rows`` int64[m], ``query`` float32[k, dim] with k >= 1; returns
    float32[m]. A score depends on the two vectors only, never on the row's place or its neighbours.
    """
    products: Floats = np.vecdot(vectors[rows][:, np.newaxis, :], query[np.newaxis, :, :])
    best: Floats = products.max(axis=1)
    return best


def rank_rows(vectors: Floats, rows: Rows, query: Floats, depth: int) -> tuple[Rows, Floats]:
    """Score ``rows`` (int64[m], each once) and return the ``depth`` best, best first, ties by lower row."""
    scores = score_rows(vectors, rows, query)
    order = np.lexsort((rows, -scores))[:depth]
    return rows[order], scores[order]


def scan(vectors: Floats, query: Floats, depth: int, mask: Mask | None = None) -> tuple[Rows, Floats]:
    """Find the exact ``depth`` best rows for a query of one or several windows.

    ``vectors`` float32[n, dim], L2-normalised, may be memory-mapped; ``query`` float32[k, dim], one row per
    window, the best window counts; ``mask`` bool[n] names the allowed rows. Returns rows int64[m] and
    scores float32[m], m = min(depth, allowed rows), best first, ties by lower row. Raises ``ValueError``
    when shapes or types do not fit each other.
    """
    check_shapes(vectors, query, mask)
    rows = None
    allowed = len(vectors)
    if mask is not None:
        allowed = int(np.count_nonzero(mask))
        if allowed < _SELECTIVE * len(vectors):
            rows = np.flatnonzero(mask)
    depth = min(depth, allowed)
    if depth <= 0 or len(query) == 0:
        return np.empty(0, np.int64), np.empty(0, np.float32)
    rough = _score_all(vectors, query) if rows is None else _score_some(vectors, rows, query)
    if mask is not None and rows is None:
        rough[~mask] = -np.inf
    candidates = _choose(rough, depth, _rounding(query))
    return rank_rows(vectors, candidates if rows is None else rows[candidates], query, depth)


def check_shapes(vectors: Floats, query: Floats, mask: Mask | None) -> None:
    """Raise ``ValueError`` unless query and mask fit the vectors."""
    if query.ndim != 2 or query.shape[1] != vectors.shape[1] or query.dtype != np.float32:
        raise ValueError(f"a query of shape {query.shape}, {query.dtype} does not fit {vectors.shape[1]} dimensions")
    if mask is not None and (mask.shape != (len(vectors),) or mask.dtype != np.bool_):
        raise ValueError(f"a mask of shape {mask.shape}, {mask.dtype} does not fit {len(vectors)} rows")


def _score_all(vectors: Floats, query: Floats) -> Floats:
    """Score every row, up to rounding."""
    scores = np.empty(len(vectors), np.float32)
    for start in range(0, len(vectors), _BLOCK_ROWS):
        stop = start + _BLOCK_ROWS
        _multiply(vectors[start:stop], query, scores[start:stop])
    return scores


def _score_some(vectors: Floats, rows: Rows, query: Floats) -> Floats:
    """Score chosen rows, up to rounding: faster than ``score_rows`` when they are many."""
    scores = np.empty(len(rows), np.float32)
    copied = np.empty((min(_GATHER_ROWS, len(rows)), vectors.shape[1]), np.float32)
    for start in range(0, len(rows), _GATHER_ROWS):
        chosen = rows[start : start + _GATHER_ROWS]
        block = copied[: len(chosen)]
        np.take(vectors, chosen, axis=0, out=block, mode="clip")  # "raise" would copy once more
        _multiply(block, query, scores[start : start + _GATHER_ROWS])
    return scores


def _multiply(block: Floats, query: Floats, scores: Floats) -> None:
    if len(query) == 1:
        np.matmul(block, query[0], out=scores)
    else:
        np.max(query @ block.T, axis=0, out=scores)


def _choose(rough: Floats, depth: int, margin: float) -> Rows:
    """Every row that could be among the ``depth`` best once it is scored exactly."""
    if depth >= len(rough):
        return np.flatnonzero(rough > -np.inf)
    threshold = np.partition(rough, len(rough) - depth)[len(rough) - depth]
    return np.flatnonzero(rough >= threshold - margin)


def _rounding(query: Floats) -> float:
    """Bound how far two float32 sums of the same products can lie apart, for rows of unit length."""
    length = float(np.sqrt(np.vecdot(query, query).max()))
    dim: int = query.shape[1]
    return 2.0 * dim * float(np.finfo(np.float32).eps) * length

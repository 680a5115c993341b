"""The compiled search over a memory-mapped HNSW graph.

The algorithm is HNSW's search (Malkov & Yashunin, arXiv:1603.09320, 2016/2018): algorithm 5 walks greedily
down the upper levels, algorithm 2 keeps the ``ef`` best rows of level 0. Two things are added: a filter
inside the traversal (every row is walked through, only allowed rows are collected), and a budget of
evaluated rows, so that a filter far away from the query cannot walk the whole graph.

Importing this module loads numba (120 MB), and compiles the kernel or reads it from numba's cache; only
``core.shards.graph`` imports it, and only when a graph is opened. The kernel trusts its arguments:
nothing here checks a bound, ``core.shards.graph_arrays`` has.
"""

from collections.abc import Callable
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt
from numba import njit, types

from core.shards.flat import Floats, Mask
from core.shards.graph_arrays import Indices

Bits = npt.NDArray[np.uint8]

# Shards are mapped read-only; a read-only signature accepts writable arrays as well.
_FLOATS = types.Array(types.float32, 1, "C", readonly=True)
_MATRIX = types.Array(types.float32, 2, "C", readonly=True)
_LINKS = types.Array(types.uint32, 2, "C", readonly=True)
_INDICES = types.Array(types.uint32, 1, "C", readonly=True)
_MASK = types.Array(types.boolean, 1, "C", readonly=True)
_ROWS = types.Array(types.uint32, 1, "C")
_KEYS = types.Array(types.float32, 1, "C")
_BITS = types.Array(types.uint8, 1, "C")

GAVE_UP: Final = -1  # what ``search`` answers when its budget ran out


def _compiled(signature: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Compile at import, for one signature: no search ever waits for the compiler."""
    options = njit(signature, cache=True, nogil=True, fastmath=True, error_model="numpy")
    return cast("Callable[[Callable[..., Any]], Callable[..., Any]]", options)


@_compiled(types.float32(_MATRIX, types.uint32, _FLOATS))
def _similarity(vectors: Floats, row: np.uint32, query: Floats) -> np.float32:
    total = np.float32(0.0)
    for i in range(query.shape[0]):
        total += vectors[row, i] * query[i]
    return total


@_compiled(types.void(_KEYS, _ROWS, types.intp, types.float32, types.uint32))
def _push(keys: Floats, rows: Indices, size: int, key: np.float32, row: np.uint32) -> None:
    """Add to a heap of ``size`` entries whose smallest key is at 0."""
    place = size
    while place > 0:
        parent = (place - 1) >> 1
        if keys[parent] <= key:
            break
        keys[place] = keys[parent]
        rows[place] = rows[parent]
        place = parent
    keys[place] = key
    rows[place] = row


@_compiled(types.void(_KEYS, _ROWS, types.intp, types.float32, types.uint32))
def _replace_top(keys: Floats, rows: Indices, size: int, key: np.float32, row: np.uint32) -> None:
    """Drop the smallest of ``size`` entries and put ``key`` in, in one sift."""
    place = 0
    while True:
        child = 2 * place + 1
        if child >= size:
            break
        if child + 1 < size and keys[child + 1] < keys[child]:
            child += 1
        if keys[child] >= key:
            break
        keys[place] = keys[child]
        rows[place] = rows[child]
        place = child
    keys[place] = key
    rows[place] = row


@_compiled(types.uint32(_MATRIX, _LINKS, _INDICES, types.uint32, types.intp, _FLOATS))
def _descend(
    vectors: Floats, upper: Indices, upper_offsets: Indices, entry: np.uint32, entry_level: int, query: Floats
) -> np.uint32:
    """Walk greedily through the upper levels; returns the row where level 0 begins."""
    row = entry
    best = _similarity(vectors, row, query)
    for level in range(entry_level, 0, -1):
        moved = True
        while moved:
            moved = False
            block = upper_offsets[row] + level - 1
            for slot in range(1, upper[block, 0] + 1):
                other = upper[block, slot]
                score = _similarity(vectors, other, query)
                if score > best:
                    best = score
                    row = other
                    moved = True
    return row


@_compiled(types.intp(_LINKS, types.uint32, _BITS, _ROWS))
def _visit(links: Indices, row: np.uint32, visited: Bits, fresh: Indices) -> int:
    """Mark a row's neighbours as visited; those that were not before go to ``fresh``, their number is returned."""
    size = 0
    for slot in range(1, links[row, 0] + 1):
        other = links[row, slot]
        bit = 1 << (other & 7)
        if visited[other >> 3] & bit == 0:
            visited[other >> 3] |= bit
            fresh[size] = other
            size += 1
    return size


@_compiled(
    types.intp(
        _MATRIX,
        _LINKS,
        _LINKS,
        _INDICES,
        types.uint32,
        types.intp,
        _FLOATS,
        _MASK,
        types.boolean,
        types.intp,
        _ROWS,
    )
)
def search(
    vectors: Floats,
    links: Indices,
    upper: Indices,
    upper_offsets: Indices,
    entry: np.uint32,
    entry_level: int,
    query: Floats,
    mask: Mask,
    filtered: bool,
    budget: int,
    found: Indices,
) -> int:
    """Fill ``found`` (its length is ``ef``) with the best rows for one query, in no order.

    ``vectors`` float32[n, dim] · ``links``, ``upper``, ``upper_offsets`` and ``entry`` as in
    ``core.shards.graph_arrays`` · ``query`` float32[dim] · ``mask`` bool[n], looked at when ``filtered`` ·
    ``budget``: rows of level 0 that may be evaluated. Returns how many rows were found, or ``GAVE_UP``.
    """
    ef = found.shape[0]
    kept_keys = np.empty(ef, np.float32)
    # Nearest first, so the keys are negated. A row is evaluated once and pushed at most once: the budget
    # bounds the heap. Untouched pages of a large allocation cost nothing.
    open_keys = np.empty(budget, np.float32)
    open_rows = np.empty(budget, np.uint32)
    fresh = np.empty(links.shape[1], np.uint32)
    visited = np.zeros((vectors.shape[0] >> 3) + 1, np.uint8)

    fresh[0] = _descend(vectors, upper, upper_offsets, entry, entry_level, query)
    visited[fresh[0] >> 3] |= 1 << (fresh[0] & 7)
    fresh_size = 1
    evaluated = 1
    open_size = 0
    kept = 0
    while True:
        for i in range(fresh_size):
            row = fresh[i]
            score = _similarity(vectors, row, query)
            if kept == ef and score <= kept_keys[0]:
                continue
            _push(open_keys, open_rows, open_size, -score, row)
            open_size += 1
            if filtered and not mask[row]:
                continue
            if kept < ef:
                _push(kept_keys, found, kept, score, row)
                kept += 1
            else:
                _replace_top(kept_keys, found, ef, score, row)

        if open_size == 0 or (kept == ef and -open_keys[0] < kept_keys[0]):
            return kept
        row = open_rows[0]
        open_size -= 1
        _replace_top(open_keys, open_rows, open_size, open_keys[open_size], open_rows[open_size])
        # First all the new rows, then their vectors: the processor overlaps the cache misses.
        fresh_size = _visit(links, row, visited, fresh)
        evaluated += fresh_size
        if evaluated > budget:
            return GAVE_UP

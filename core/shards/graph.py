"""Approximate nearest rows for large shards: a graph that hnswlib builds and memory-mapped arrays serve.

HNSW (Malkov & Yashunin, arXiv:1603.09320, 2016/2018). hnswlib's own files are never written nor read: its
arrays are taken out after building and stored as plain numpy arrays beside the vectors, in row order, so
that every process on a host searches the same pages without a load step. ``core.shards.graph_arrays``
describes them.

hnswlib is imported when a graph is built and numba when one is opened: no other role pays for them.
"""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from core.errors import ConfigurationError
from core.shards.flat import Floats, Mask, Rows, check_shapes, rank_rows, scan
from core.shards.graph_arrays import Indices, check_arrays, find_twins, take_arrays

if TYPE_CHECKING:
    from types import ModuleType

# A filtered traversal evaluates about ef / share rows, a scan all allowed ones: they take the same time at
# about 40 * sqrt(rows) allowed (measured at ef 64). The scan is exact, so it is given some more.
_SCAN_FACTOR: Final = 50
_NO_MASK: Final = np.zeros(0, np.bool_)


def build_graph(
    vectors: Floats, *, m: int, ef_construction: int, seed: int, threads: int
) -> dict[str, npt.NDArray[Any]]:
    """Build the graph of ``vectors`` (float32[n, dim], L2-normalised, n >= 1) and return its arrays.

    ``m``: links a row gets on each upper level, twice that on level 0; ``ef_construction``: candidates
    weighed for each row; ``seed`` decides the levels. With ``threads=1`` equal input gives equal arrays; more
    threads insert in a varying order. Needs memory for the vectors two times over. Raises ``ValueError`` for
    no rows.
    """
    import hnswlib  # noqa: PLC0415

    if len(vectors) == 0:
        raise ValueError("a graph needs at least one row")
    unique, twins, twin_of = find_twins(vectors)
    index = hnswlib.Index(space="ip", dim=vectors.shape[1])
    index.init_index(max_elements=len(unique), M=m, ef_construction=ef_construction, random_seed=seed)
    index.add_items(vectors if len(twins) == 0 else vectors[unique], unique, num_threads=threads)
    state = index.__getstate__()[0]
    del index  # the state is a copy
    arrays = take_arrays(state, len(vectors))
    return {**arrays, "twins": twins, "twin_of": twin_of}


def open_graph(arrays: Mapping[str, npt.NDArray[Any]], vectors: Floats) -> "Graph":
    """Serve a graph from its arrays, which may be read-only and memory-mapped, and are not copied.

    ``vectors`` float32[n, dim] in the same row order. Raises ``IntegrityError`` when the arrays do not fit
    each other (the kernel checks nothing), ``ConfigurationError`` when the kernel cannot be compiled here.
    """
    plain = check_arrays(arrays, vectors)
    return Graph(plain, np.asarray(vectors), _load_kernel())


class Graph:
    """An open graph: immutable, without a lock, for any number of threads at once.

    Each search allocates what it writes to: a bit for each row, and the pages of two heaps that it touches.
    """

    def __init__(self, arrays: Mapping[str, Indices], vectors: Floats, kernel: "ModuleType") -> None:
        self._vectors = vectors
        self._links = arrays["links"]
        self._upper = arrays["upper"]
        self._upper_offsets = arrays["upper_offsets"]
        self._entry = arrays["entry"][0]
        self._entry_level = int(self._upper_offsets[self._entry + 1] - self._upper_offsets[self._entry])
        self._twins = arrays["twins"].astype(np.int64)
        self._twin_of = arrays["twin_of"].astype(np.int64)
        self._kernel = kernel

    def search(self, query: Floats, depth: int, ef: int, mask: Mask | None = None) -> tuple[Rows, Floats]:
        """Find about the ``depth`` best rows; arguments, order and scores as in ``core.shards.flat.scan``.

        ``ef`` rows are kept while searching, at least ``depth``: more is slower and finds more. A mask that
        allows few rows, or only rows far from the query, is answered by scanning those, so ``depth`` is
        filled whenever enough rows are allowed. Raises ``ValueError`` when the shapes do not fit.
        """
        check_shapes(self._vectors, query, mask)
        count = len(self._vectors)
        allowed = count if mask is None else int(np.count_nonzero(mask))
        wanted = min(depth, allowed) if len(query) else 0
        if wanted <= 0 or (mask is not None and allowed < _SCAN_FACTOR * math.sqrt(count)):
            return scan(self._vectors, query, depth, mask)
        budget = count if mask is None else allowed  # beyond it, scanning them would have been faster
        # Only one of equal vectors is in the graph: it may be walked to when any of them is allowed.
        nodes = mask if mask is None or len(self._twins) == 0 else self._allow_nodes(mask)
        beam = max(ef, wanted)
        hits = [self._walk(np.ascontiguousarray(window), beam, nodes, budget) for window in query]
        rows = self._expand(np.unique(np.concatenate(hits)), depth, mask)
        if len(rows) < wanted or any(len(found) == 0 for found in hits):
            return scan(self._vectors, query, depth, mask)
        return rank_rows(self._vectors, rows, query, depth)

    def _walk(self, window: Floats, beam: int, nodes: Mask | None, budget: int) -> Rows:
        """Run the kernel for one window; no rows when its budget ran out."""
        found = np.empty(beam, np.uint32)
        kept: int = self._kernel.search(
            self._vectors,
            self._links,
            self._upper,
            self._upper_offsets,
            self._entry,
            self._entry_level,
            window,
            _NO_MASK if nodes is None else np.ascontiguousarray(nodes),
            nodes is not None,
            budget,
            found,
        )
        return found[: max(kept, 0)].astype(np.int64)

    def _allow_nodes(self, mask: Mask) -> Mask:
        nodes = mask.copy()
        nodes[self._twin_of[mask[self._twins]]] = True
        return nodes

    def _expand(self, nodes: Rows, depth: int, mask: Mask | None) -> Rows:
        """Drop the nodes that the mask forbids, and add the lowest ``depth`` twins that it allows."""
        parts = [nodes if mask is None else nodes[mask[nodes]]]
        if len(self._twins):
            starts = np.searchsorted(self._twin_of, nodes, side="left")
            stops = np.searchsorted(self._twin_of, nodes, side="right")
            for start, stop in zip(starts, stops, strict=True):
                twins = self._twins[start:stop]
                parts.append((twins if mask is None else twins[mask[twins]])[:depth])
        return np.concatenate(parts)


def _load_kernel() -> "ModuleType":
    try:
        from core.shards import graph_kernel  # noqa: PLC0415
    except (RuntimeError, OSError) as error:  # numba found no cache directory that it may write to
        raise ConfigurationError(
            f"the vector search cannot keep its compiled code: set NUMBA_CACHE_DIR to a writable directory ({error})"
        ) from error
    return graph_kernel

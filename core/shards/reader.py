"""An opened shard: its files, authenticated and decrypted into tmpfs, memory-mapped."""

from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from core.errors import IntegrityError
from core.shards.arrays import map_array
from core.shards.attributes import Attributes
from core.shards.builder import MANIFEST_FILE, TEXT_FOLDER, Manifest
from core.shards.flat import scan
from core.shards.graph import Graph, open_graph
from core.shards.graph_arrays import ARRAYS
from core.shards.sessions import SessionIndex

Mask = npt.NDArray[np.bool_]
Ids = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

_WINDOW_SPARE = 4  # candidates asked for per result where a memory may own several vectors


class OpenShard:
    """One shard, ready to search. Immutable; safe to share between threads."""

    def __init__(self, shard_id: str, folder: Path, fingerprint: str) -> None:
        """Map the files in ``folder``. Raises ``IntegrityError`` when they are not what ``fingerprint`` asks for."""
        self.id = shard_id
        self.text_folder = folder / TEXT_FOLDER
        self.manifest = Manifest.from_bytes((folder / MANIFEST_FILE).read_bytes())
        if self.manifest.fingerprint != fingerprint:
            raise IntegrityError("a shard was built with another embedding model; models are never mixed")
        self.ids: Ids = map_array(folder / "ids.npy")
        self.owners: npt.NDArray[np.uint32] = map_array(folder / "owners.npy")
        self.vectors: Floats = map_array(folder / "vectors.npy")
        self.sessions = SessionIndex(
            map_array(folder / "sessions.npy"), self.ids, map_array(folder / "session-order.npy")
        )
        # Everything is mapped now: the cache may evict the folder any time, and what is mapped stays readable.
        self.attributes = Attributes.open(folder)
        graph = ARRAYS if self.manifest.graph else ()
        self._graph_arrays = {name: map_array(folder / f"graph-{name}.npy") for name in graph}

    @property
    def rows(self) -> int:
        """How many memories the shard holds."""
        return self.manifest.rows

    @cached_property
    def _graph(self) -> Graph | None:
        if not self.manifest.graph:
            return None
        return open_graph(self._graph_arrays, self.vectors)

    def nearest(self, query: Floats, depth: int, ef: int, mask: Mask | None) -> tuple[Ids, Floats]:
        """Return the ids and cosine similarities of the best memories for float32[k, dim] query windows.

        ``mask`` bool[rows] names the allowed memories. At most ``depth`` results, best first; a memory's best
        window counts.
        """
        single = self.manifest.vectors == self.manifest.rows
        wanted = depth if single else depth * _WINDOW_SPARE
        vector_mask = mask if mask is None or single else mask[self.owners]
        if self._graph is None:
            rows, scores = scan(self.vectors, query, wanted, vector_mask)
        else:
            rows, scores = self._graph.search(query, wanted, max(ef, wanted), vector_mask)
        owners = self.owners[rows]
        if not single:
            _, first = np.unique(owners, return_index=True)
            first.sort()
            owners, scores = owners[first], scores[first]
        return self.ids[owners[:depth]], scores[:depth]

    def locate(self, ids: Ids) -> npt.NDArray[np.int64]:
        """Return the row of each id, int64[n], or -1 where this shard does not hold it."""
        rows = np.minimum(np.searchsorted(self.ids, ids), len(self.ids) - 1)
        return np.where(self.ids[rows] == ids, rows, -1)

    def similarity(self, row: int, query: Floats) -> float:
        """Return the cosine similarity of one memory's best window with the query's best window."""
        # In the array's own type: numpy would otherwise convert all of it for each look.
        start, stop = np.searchsorted(self.owners, np.array([row, row + 1], self.owners.dtype))
        return float((self.vectors[start:stop] @ query.T).max())

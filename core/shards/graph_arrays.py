"""The arrays of a stored graph: how they come out of hnswlib, and what makes them safe to search.

The arrays, for n rows:

    links          uint32[n, 1 + 2m]  level 0: the number of neighbours, then their rows, then zeros
    upper          uint32[b, 1 + m]   levels 1 and up, one block a level, in the same form
    upper_offsets  uint32[n + 1]      row r's blocks are upper[upper_offsets[r]:upper_offsets[r + 1]]
    entry          uint32[1]          the row where a search begins; its blocks tell the highest level
    twins          uint32[t]          rows left out of the graph: their vector is that of ...
    twin_of        uint32[t]          ... this lower row, in ascending order

Twins exist because equal vectors link to each other only, and a few thousand of them ("ok", "thanks")
cut a graph in pieces: one of them stands for all.
"""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from core.errors import IntegrityError
from core.shards.flat import Floats, Rows

Indices = npt.NDArray[np.uint32]

_DIMENSIONS: Final = {  # of each array; all are uint32
    "links": 2,
    "upper": 2,
    "upper_offsets": 1,
    "entry": 1,
    "twins": 1,
    "twin_of": 1,
}
ARRAYS: Final = tuple(_DIMENSIONS)
_COUNT_BITS: Final = np.uint32(0xFFFF)  # hnswlib keeps a flag byte above its 16-bit count


def find_twins(vectors: Floats) -> tuple[Rows, Indices, Indices]:
    """Split rows into those that stand in the graph (int64), and twins with the row they equal (uint32)."""
    seen: dict[int, int] = {}
    pairs = []
    for row, vector in enumerate(vectors):
        first = seen.setdefault(hash(vector.tobytes()), row)  # 64 bits, so that a million rows fit in memory
        if first != row and np.array_equal(vectors[first], vector):
            pairs.append((first, row))
    pairs.sort()
    split = np.array(pairs, np.uint32).reshape(-1, 2)
    twins = np.ascontiguousarray(split[:, 1])
    return np.delete(np.arange(len(vectors)), twins), twins, np.ascontiguousarray(split[:, 0])


def take_arrays(state: Mapping[str, Any], count: int) -> dict[str, npt.NDArray[Any]]:
    """Turn hnswlib's state into our arrays, from its order of insertion to row order."""
    nodes = int(state["cur_element_count"])
    records = state["data_level0"].view(np.uint8).reshape(-1, state["size_data_per_element"])[:nodes]
    label_offset = int(state["label_offset"])
    labels = np.ascontiguousarray(records[:, label_offset : label_offset + 8]).view(np.uint64).ravel()
    row_of = labels.astype(np.uint32)

    links_bytes = 4 * (1 + int(state["max_M0"]))
    links = np.zeros((count, 1 + int(state["max_M0"])), np.uint32)
    links[row_of] = _name_rows(np.ascontiguousarray(records[:, :links_bytes]).view(np.uint32), row_of)

    levels = np.zeros(count, np.int64)
    levels[row_of] = state["element_levels"][:nodes]
    upper_offsets = np.zeros(count + 1, np.uint32)
    np.cumsum(levels, out=upper_offsets[1:])
    blocks = _name_rows(state["link_lists"].view(np.uint32).reshape(-1, 1 + int(state["max_M"])), row_of)
    upper = np.empty_like(blocks)
    # The blocks come in order of insertion, each row's together: move each group to its row's place.
    groups = np.repeat(row_of.astype(np.int64), state["element_levels"][:nodes])
    upper[np.argsort(np.argsort(groups, kind="stable"), kind="stable")] = blocks
    return {
        "links": links,
        "upper": upper,
        "upper_offsets": upper_offsets,
        "entry": row_of[[int(state["enterpoint_node"])]],
    }


def _name_rows(blocks: Indices, row_of: Indices) -> Indices:
    """Rewrite blocks of (count, internal ids …) as (count, rows …), with zeros behind the last."""
    named = blocks.copy()
    named[:, 0] &= _COUNT_BITS
    used = np.arange(1, blocks.shape[1]) <= named[:, :1]
    named[:, 1:] = row_of[np.where(used, blocks[:, 1:], 0)] * used
    return named


def check_arrays(arrays: Mapping[str, npt.NDArray[Any]], vectors: Floats) -> dict[str, Indices]:
    """Refuse whatever would let the kernel read outside an array; returns the arrays, not copied.

    The bytes were authenticated before, so this guards against our own mistakes, in a few milliseconds for
    100,000 rows. Raises ``IntegrityError``.
    """
    if vectors.ndim != 2 or vectors.dtype != np.float32 or not vectors.flags.c_contiguous or len(vectors) == 0:
        raise IntegrityError("a graph's vectors are not float32 rows")
    checked = {name: _check_array(arrays, name) for name in _DIMENSIONS}
    count = len(vectors)
    fits = (
        len(checked["links"]) == count
        and _holds_blocks(checked["links"], count)
        and _holds_blocks(checked["upper"], count)
        and _holds_levels(checked["upper"], checked["upper_offsets"], count)
        and checked["entry"].shape == (1,)
        and bool(checked["entry"][0] < count)
        and _holds_twins(checked["twins"], checked["twin_of"], count)
    )
    if not fits:
        raise IntegrityError("the graph's arrays do not fit each other or their vectors")
    return checked


def _check_array(arrays: Mapping[str, npt.NDArray[Any]], name: str) -> Indices:
    array = arrays.get(name)
    if array is None:
        raise IntegrityError(f"the graph's array {name} is missing")
    if array.dtype != np.uint32 or array.ndim != _DIMENSIONS[name] or not array.flags.c_contiguous:
        raise IntegrityError(f"the graph's array {name} is not uint32 of {_DIMENSIONS[name]} dimensions")
    return np.asarray(array)


def _holds_blocks(blocks: Indices, count: int) -> bool:
    """Each count fits its block, and each neighbour is a row."""
    width = blocks.shape[1] - 1
    return bool(width > 0 and blocks[:, 0].max(initial=0) <= width and blocks[:, 1:].max(initial=0) < count)


def _holds_levels(upper: Indices, offsets: Indices, count: int) -> bool:
    """Offsets divide the blocks among the rows, and neighbours on a level have that level themselves."""
    if offsets.shape != (count + 1,) or offsets[0] != 0 or offsets[-1] != len(upper):
        return False
    if (offsets[1:] < offsets[:-1]).any():
        return False
    levels = np.diff(offsets)
    owners = np.repeat(np.arange(count), levels)
    level = np.arange(len(upper)) - offsets[owners] + 1
    used = np.arange(1, upper.shape[1]) <= upper[:, :1]
    return bool((levels[upper[:, 1:]] >= level[:, np.newaxis])[used].all())


def _holds_twins(twins: Indices, twin_of: Indices, count: int) -> bool:
    if twins.shape != twin_of.shape or twins.max(initial=0) >= count:
        return False
    return bool((twin_of < twins).all() and (twin_of[1:] >= twin_of[:-1]).all())

"""What filters, time and sessions ask of a shard, as two Arrow tables.

``attributes.arrow`` has one row a memory, in the shard's row order. ``metadata.arrow`` has one row for each leaf
of each memory's metadata, sorted by path: any number of distinct keys costs rows, never columns, and a filter on
one path reads one slice. A list's values are leaves of the list's path, so `eq` on a list means "has".
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from core.memory import Metadata

ATTRIBUTES_FILE = "attributes.arrow"
METADATA_FILE = "metadata.arrow"

NULL, BOOL, NUMBER, TEXT = 0, 1, 2, 3  # the kind column of metadata.arrow
NEVER = np.iinfo(np.int64).max  # a time that does not come

Times = npt.NDArray[np.int64]


@dataclass(frozen=True)
class AttributeRow:
    """What one memory contributes. Times in microseconds since the epoch."""

    id: int
    created_at: int
    occurred_at: int | None
    expires_at: int | None
    closed_at: int | None
    session: str | None
    tags: Sequence[str]
    importance: float | None
    metadata: Metadata


@dataclass(frozen=True)
class Leaf:
    """One value of a memory's metadata."""

    path: str
    kind: int
    number: float
    text: str


def flatten(metadata: Metadata) -> Iterator[Leaf]:
    """Yield the leaves of a metadata object; paths join keys with dots."""
    for key, value in metadata.items():
        yield from _leaves(key, value)


def _leaves(path: str, value: Any) -> Iterator[Leaf]:
    match value:
        case dict():
            for key, item in value.items():
                yield from _leaves(f"{path}.{key}", item)
        case list():
            for item in value:
                yield from _leaves(path, item)
        case None:
            yield Leaf(path, NULL, 0.0, "")
        case bool():
            yield Leaf(path, BOOL, float(value), "")
        case int() | float():
            yield Leaf(path, NUMBER, float(value), "")
        case _:
            yield Leaf(path, TEXT, 0.0, str(value))


def write_attributes(folder: Path, rows: Iterable[AttributeRow]) -> None:
    """Write both tables of the rows, which come in shard order."""
    given = list(rows)
    _write(folder / ATTRIBUTES_FILE, attribute_table(given))
    _write(folder / METADATA_FILE, metadata_table(given))


def attribute_table(rows: Sequence[AttributeRow]) -> pa.Table:
    """Return the table of ``attributes.arrow``."""
    return pa.table(
        {
            "created_at": pa.array([row.created_at for row in rows], pa.int64()),
            "occurred_at": pa.array(
                [row.created_at if row.occurred_at is None else row.occurred_at for row in rows], pa.int64()
            ),
            "expires_at": pa.array([NEVER if row.expires_at is None else row.expires_at for row in rows], pa.int64()),
            "closed_at": pa.array([NEVER if row.closed_at is None else row.closed_at for row in rows], pa.int64()),
            "importance": pa.array([row.importance for row in rows], pa.float64()),
            "session": pa.array([row.session for row in rows], pa.string()).dictionary_encode(),
            "tags": pa.array([list(row.tags) for row in rows], pa.list_(pa.string())),
        }
    )


def metadata_table(rows: Sequence[AttributeRow]) -> pa.Table:
    """Return the table of ``metadata.arrow``, sorted by path, then row."""
    leaves = sorted(
        ((leaf.path, position, leaf) for position, row in enumerate(rows) for leaf in flatten(row.metadata)),
        key=lambda item: item[:2],
    )
    return pa.table(
        {
            "path": pa.array([path for path, _, _ in leaves], pa.string()).dictionary_encode(),
            "row": pa.array([position for _, position, _ in leaves], pa.uint32()),
            "kind": pa.array([leaf.kind for _, _, leaf in leaves], pa.uint8()),
            "number": pa.array([leaf.number for _, _, leaf in leaves], pa.float64()),
            "text": pa.array([leaf.text for _, _, leaf in leaves], pa.string()),
        }
    )


class Attributes:
    """The two tables of an opened shard, memory-mapped at once and read when a search first asks for them."""

    def __init__(self, attributes: Callable[[], pa.Table], metadata: Callable[[], pa.Table]) -> None:
        self._read_attributes = attributes
        self._read_metadata = metadata

    @classmethod
    def open(cls, folder: Path) -> "Attributes":
        """Map the tables of a shard's folder; the folder may be gone when they are read."""
        attributes, metadata = (pa.memory_map(str(folder / name)) for name in (ATTRIBUTES_FILE, METADATA_FILE))
        return cls(lambda: _read(attributes), lambda: _read(metadata))

    @classmethod
    def of(cls, rows: Sequence[AttributeRow]) -> "Attributes":
        """Return the attributes of rows that are in no shard, so that the same filter can judge them."""
        return cls(lambda: attribute_table(rows), lambda: metadata_table(rows))

    @property
    def rows(self) -> int:
        """How many memories the tables tell of."""
        count: int = self._attributes.num_rows
        return count

    @cached_property
    def _attributes(self) -> pa.Table:
        return self._read_attributes().combine_chunks()

    @cached_property
    def _metadata(self) -> pa.Table:
        return self._read_metadata().combine_chunks()

    def times(self, name: str) -> Times:
        """Return a time column, int64[rows]: created_at, occurred_at, expires_at or closed_at."""
        return _numpy(self._attributes[name])

    def column(self, name: str) -> pa.Array:
        """Return a column as one Arrow array."""
        return _one(self._attributes[name])

    def leaves(self, path: str) -> pa.Table:
        """Return the rows of ``metadata.arrow`` for a path (row, kind, number, text)."""
        start, stop = self._slices.get(path, (0, 0))
        return self._metadata.slice(start, stop - start)

    @cached_property
    def _slices(self) -> dict[str, tuple[int, int]]:
        if not self._metadata.num_rows:
            return {}
        column = _one(self._metadata["path"])
        codes = _numpy(column.indices)
        starts = np.flatnonzero(np.diff(codes, prepend=-1))
        stops = np.append(starts[1:], len(codes))
        names = column.dictionary.to_pylist()
        return {names[codes[start]]: (int(start), int(stop)) for start, stop in zip(starts, stops, strict=True)}


def _one(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _numpy(column: Any) -> npt.NDArray[Any]:
    array: npt.NDArray[Any] = column.to_numpy()
    return array


def _write(path: Path, table: pa.Table) -> None:
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)


def _read(source: pa.MemoryMappedFile) -> pa.Table:
    return pa.ipc.open_file(source).read_all()

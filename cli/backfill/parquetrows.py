"""Parquet, a batch of rows at a time."""

import base64
from collections.abc import Iterator
from datetime import date, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cli.backfill.rows import SPOILT, UNREADABLE, Fault, Row
from core.errors import InvalidInput

_BATCH_ROWS: Final = 1_024
_PAGE_BUFFER_BYTES: Final = 2**20  # read ahead of each column: the whole of a row group otherwise
_THRIFT_MAX: Final = 100_000_000  # bytes, or entries, of a footer before it is refused
_SPOILT: Final = object()  # a value that Python has nothing for


class ParquetRows:
    """Reads a Parquet file."""

    spelled = True

    def __init__(self, path: Path) -> None:
        """Open it. Raises ``InvalidInput`` when it is no Parquet file."""
        try:
            self._file = pq.ParquetFile(
                path,
                buffer_size=_PAGE_BUFFER_BYTES,
                pre_buffer=False,
                thrift_string_size_limit=_THRIFT_MAX,
                thrift_container_size_limit=_THRIFT_MAX,
            )
            self._total = self._file.metadata.num_rows
        except (pa.ArrowException, OSError, ValueError):
            raise InvalidInput("is not a Parquet file that can be read") from None
        self._done = 0

    @property
    def share(self) -> float:
        """How much of the file is read, 0 to 1."""
        return min(1.0, self._done / self._total) if self._total else 1.0

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns. Raises ``InvalidInput`` when two are the same."""
        names: list[str] = self._file.schema_arrow.names
        if len(set(names)) < len(names) or "" in names:
            raise InvalidInput("names a column twice, or has one without a name; correct it")
        return tuple(names)

    def rows(self, wanted: tuple[str, ...] | None) -> Iterator[Row | Fault]:
        """Yield the rows."""
        names = [name for name in self.columns if wanted is None or name in wanted]
        try:
            for batch in self._file.iter_batches(batch_size=_BATCH_ROWS, columns=names, use_threads=False):
                columns = [(name, _values(batch.column(name))) for name in names]
                for place in range(batch.num_rows):
                    self._done += 1
                    fields = {name: values[place] for name, values in columns}
                    if _SPOILT in fields.values():
                        yield Fault(
                            self._done, SPOILT, "holds a value that cannot be read, such as text that is no UTF-8"
                        )
                    else:
                        yield Row(self._done, fields)
        except (pa.ArrowException, OSError, ValueError, KeyError, TypeError):
            yield Fault(self._done + 1, UNREADABLE, "the file is damaged from here on; nothing after is written")


def _values(column: Any) -> list[Any]:
    kind = column.type
    numbers = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    if numbers and pa.types.is_floating(kind.value_type):
        return _packed(column)
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        return [None if value is None else base64.b64encode(value).decode() for value in column.to_pylist()]
    if pa.types.is_timestamp(kind) and kind.unit == "ns":  # finer than Python's
        column = column.cast(pa.timestamp("us", kind.tz), safe=False)
    try:
        values: list[Any] = column.to_pylist()
    except Exception:  # noqa: BLE001 - whatever the library raises for a value
        values = [_value(scalar) for scalar in column]
    if pa.types.is_nested(kind) or pa.types.is_temporal(kind) or pa.types.is_floating(kind):
        return [_plain(value) for value in values]
    return values


def _value(scalar: Any) -> Any:
    try:
        return scalar.as_py()
    except Exception:  # noqa: BLE001 - as above
        return _SPOILT


def _packed(column: Any) -> list[str | None]:
    """Return lists of numbers as float32 in base64, which is how vectors travel."""
    lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False)
    with np.errstate(over="ignore"):  # what becomes infinite is refused with its row
        flat = column.flatten().to_numpy(zero_copy_only=False).astype("<f4")
    ends = np.cumsum(lengths)
    return [
        base64.b64encode(flat[end - length : end].tobytes()).decode() if valid else None
        for valid, length, end in zip(column.is_valid().to_pylist(), lengths.tolist(), ends.tolist(), strict=True)
    ]


def _plain(value: Any) -> Any:
    """Return a value as JSON has it: times as text, missing numbers as nothing."""
    match value:
        case float() if value != value:  # noqa: PLR0124 - not a number: how many tools write a missing one
            return None
        case datetime() | date():
            return value.isoformat()
        case dict():
            return {key: _plain(item) for key, item in value.items()}
        case list():
            return [_plain(item) for item in value]
    return value

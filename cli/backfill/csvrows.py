"""CSV (RFC 4180) in UTF-8, with a header. Every value is text; an empty one is none."""

import csv
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import BinaryIO, Final

from cli.backfill.lines import read_lines
from cli.backfill.rows import MALFORMED_CSV, TOO_LARGE, Fault, Row
from core import limits
from core.errors import InvalidInput

_COLUMNS_MAX: Final = 1_000


class CsvRows:
    """Reads CSV; ``share()`` says how much of the file is read."""

    spelled = True

    def __init__(self, stream: BinaryIO, share: Callable[[], float], delimiter: str) -> None:
        self._lines = read_lines(stream)
        self._share = share
        self._reader = csv.reader(self._feed(), delimiter=delimiter, strict=True)
        self._row_bytes = 0  # of the row at hand
        self._begun = 1  # its first line
        self._line = 0  # the last that was read
        self._text = ""  # and what it was

    @property
    def share(self) -> float:
        """How much of the file is read, 0 to 1."""
        return self._share()

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The header. Raises ``InvalidInput`` when it is none."""
        header = next(self._parsed(), None)
        if not isinstance(header, list):
            raise InvalidInput("has no header: the first line must name the columns")
        if len(header) > _COLUMNS_MAX:
            raise InvalidInput(f"has more than {_COLUMNS_MAX} columns")
        if len(set(header)) < len(header) or "" in header:
            raise InvalidInput("the header names a column twice, or one without a name; correct it")
        return tuple(header)

    def rows(self, wanted: tuple[str, ...] | None) -> Iterator[Row | Fault]:
        """Yield the rows that follow the header."""
        columns = self.columns
        kept = [(place, name) for place, name in enumerate(columns) if wanted is None or name in wanted]
        for found in self._parsed():
            if isinstance(found, Fault):
                yield found
            elif len(found) != len(columns):
                said = f"has {len(found)} fields, the header has {len(columns)}"
                yield Fault(self._begun, MALFORMED_CSV, said)
            else:
                yield Row(self._begun, {name: found[place] or None for place, name in kept})

    def _parsed(self) -> Iterator[list[str] | Fault]:
        while True:
            self._begun, self._row_bytes = self._line + 1, 0
            try:
                found = next(self._reader)
            except StopIteration:
                return
            except csv.Error:
                if self._line > self._begun or self._text.count('"') % 2:  # where the next row begins, nobody knows
                    yield Fault(
                        self._begun, MALFORMED_CSV, "opens a quote that does not close; no more of the file is read"
                    )
                    return
                yield Fault(self._begun, MALFORMED_CSV, "is not CSV: look at its quotes")
                continue
            if self._row_bytes > limits.BODY_BYTES_MAX:
                yield Fault(self._begun, TOO_LARGE, f"is longer than {limits.BODY_BYTES_MAX} bytes; split it")
            elif found:
                yield found

    def _feed(self) -> Iterator[str]:
        """Yield lines to the parser; what is not UTF-8 stays recognisable and is refused with its row."""
        for number, line in self._lines:
            self._line = number
            size = limits.BODY_BYTES_MAX + 1 if line is None else len(line)
            within = self._row_bytes > 0
            self._row_bytes += size
            if self._row_bytes > limits.BODY_BYTES_MAX:
                if within:
                    return  # a quote that does not close
                yield "\n"
            elif line is not None:
                self._text = line.decode("utf-8", "surrogateescape")
                yield self._text

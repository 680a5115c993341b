"""What came of the rows: counts, the first places of each kind of fault, and the report file with all of them."""

from collections import Counter, defaultdict
from typing import Final, TextIO

import orjson
from rich.console import Console
from rich.table import Table

from cli.backfill.judging import Good

BEFORE: Final = "rejected_before"
_PLACES_TOLD: Final = 5  # of each kind of fault


class Tally:
    """Counts of one backfill. Nothing of a row's content is kept, told or written."""

    def __init__(self, report: TextIO | None = None, *, strict: bool = False) -> None:
        """``report`` gets a JSON line for each fault; ``strict`` asks readers to stop at the first."""
        self.strict = strict
        self.good = self.embedded = 0  # rows that can be sent, and those of them with a vector
        self.written = self.before = self.calls = 0
        self.faults: Counter[str] = Counter()
        self._places: dict[str, list[tuple[str, str]]] = defaultdict(list)
        self._report = report

    @property
    def rejected(self) -> int:
        """How many rows cannot be written."""
        return self.faults.total()

    def read(self, row: Good) -> None:
        """Count a row that can be sent."""
        self.good += 1
        self.embedded += row.embedded

    def reject(self, source: str, number: int, code: str, detail: str) -> None:
        """Count a row that cannot, and say where and why."""
        self.faults[code] += 1
        if len(self._places[code]) < _PLACES_TOLD:
            self._places[code].append((f"{source}:{number}", detail))
        if self._report:
            told = {"file": source, "row": number, "code": code, "detail": detail}
            self._report.write(orjson.dumps(told, option=orjson.OPT_APPEND_NEWLINE).decode())

    def reject_before(self, rows: int) -> None:
        """Count rows that the server refused in an earlier run, which told where and why."""
        if rows:
            self.faults[BEFORE] += rows
            self._places[BEFORE] = [("-", "the server refused them in an earlier run, whose report has them")]

    def answered(self, accepted: int, *, before: bool) -> None:
        """Count what a call wrote, or an earlier run of it."""
        self.calls += 1
        if before:
            self.before += accepted
        else:
            self.written += accepted

    def show(self, console: Console, seconds: float, *, dry: bool = False) -> None:
        """Print the end of the story."""
        table = Table(show_header=False, box=None, pad_edge=False)
        if dry:
            table.add_row("would be written", f"{self.good:,}")
        else:
            table.add_row("written", f"{self.written:,}")
            if self.before:
                table.add_row("written before", f"{self.before:,}")
        if self.embedded:
            table.add_row("with vectors", f"{self.embedded:,}")
        table.add_row("rejected", f"{self.rejected:,}")
        rows = self.good if dry else self.written
        table.add_row("time", f"{seconds:,.1f} s, {rows / max(seconds, 1e-9):,.0f} rows/s")
        console.print(table)
        if self.faults:
            console.print(self._faults())

    def _faults(self) -> Table:
        table = Table("code", "rows", "where first", "why", box=None, pad_edge=False)
        for code, count in self.faults.most_common():
            places = self._places[code]
            where = ", ".join(place for place, _ in places) + (", …" if count > len(places) else "")
            table.add_row(code, f"{count:,}", where, places[0][1])
        return table

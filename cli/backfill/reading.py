"""From files to rows that can be sent; what is wrong is told to the tally, and does not stop the rest."""

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cli.backfill.judging import Good, Judge
from cli.backfill.mapping import Routes
from cli.backfill.rows import UNREADABLE, Fault, Reader, Row
from cli.backfill.sources import STANDARD, Source, opened
from cli.backfill.tally import Tally
from core.errors import ConfigurationError, InvalidInput


class FaultFound(Exception):
    """A row is wrong, and the flags ask to stop then."""


@dataclass
class Progress:
    """How far reading is, by the bytes of the files."""

    total: int
    before: int = 0  # of the files that are read
    size: int = 0  # of the one at hand
    reader: Reader | None = None

    @property
    def share(self) -> float | None:
        """How much is read, 0 to 1; ``None`` where that is not known."""
        if not self.total:
            return None
        return (self.before + (self.size * self.reader.share if self.reader else 0)) / self.total


def check_columns(sources: Sequence[Source], routes: Routes, delimiter: str | None) -> None:
    """Hold the columns of every file against the flags, before anything is sent.

    Raises ``ConfigurationError`` naming the file. What cannot be read is passed over: it is told as it is read.
    """
    for source in sources:
        if source.path == STANDARD or source.format == "jsonl":
            continue
        try:
            with opened(source, delimiter) as reader:
                columns = reader.columns
        except (InvalidInput, OSError, EOFError, zlib.error):
            continue
        _check(source, routes, columns)


def read_rows(
    sources: Sequence[Source], routes: Routes, judge: Judge, tally: Tally, progress: Progress, delimiter: str | None
) -> Iterator[Good]:
    """Yield every row that can be sent, in order. Raises ``FaultFound`` where the tally is strict."""
    for source in sources:
        progress.size = source.bytes
        number = 0
        try:
            with opened(source, delimiter) as reader:
                progress.reader = reader
                columns = reader.columns
                _check(source, routes, columns)
                for row in reader.rows(routes.wanted(columns) if columns is not None else None):
                    number = row.number
                    judged = judge.judge(source.name, row, spelled=reader.spelled) if isinstance(row, Row) else row
                    if isinstance(judged, Good):
                        tally.read(judged)
                        yield judged
                    else:
                        _tell(tally, source, judged)
        except InvalidInput as error:
            _tell(tally, source, Fault(number + 1, UNREADABLE, error.message))
        except (OSError, EOFError, zlib.error):
            _tell(tally, source, Fault(number + 1, UNREADABLE, "cannot be read from here on; nothing after is written"))
        progress.reader = None
        progress.before += source.bytes


def _check(source: Source, routes: Routes, columns: Sequence[str] | None) -> None:
    if columns is None:
        return
    try:
        routes.check(columns)
    except InvalidInput as error:
        raise ConfigurationError(f"{source.name}: {error.message}") from None


def _tell(tally: Tally, source: Source, fault: Fault) -> None:
    tally.reject(source.name, fault.number, fault.code, fault.detail)
    if tally.strict:
        raise FaultFound

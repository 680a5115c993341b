"""Rows suspected of killing the worker that flushes them: each death narrows the suspicion, down to one row.

It is noted in the record store before each try, since nothing can be noted after a death. The notes are kept under the
lease of the flush, so that one process at a time reads and writes them.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from core.records.counters import read_counter, set_counter
from core.records.engine import Database

IN_COMPANY: Final = 2  # deaths before anybody is suspected: most have other reasons


def rows_to_try(waiting: Sequence[int], deaths: int, end: int) -> tuple[Sequence[int], bool]:
    """Return the waiting rows to try now, and whether the suspicion ends with them, should they do no harm.

    The one to be found is at or before the row ``end``. A quarter of those is tried, after the first two deaths.
    """
    suspected = [row for row in waiting if row <= end] if deaths >= IN_COMPANY else []
    if not suspected:  # none was noted, or they have left meanwhile
        return waiting, True
    tried = suspected[: max(1, len(suspected) // 4)]
    return tried, len(tried) == len(suspected)


class Suspects:
    """The suspicion against the rows of one kind of flush, after so many deaths."""

    def __init__(self, database: Database, name: str, deaths: int) -> None:
        self._database = database
        self._deaths = deaths
        self._end_name, self._alone_name = f"{name}-end", f"{name}-alone"
        with database.read() as connection:
            self._end = read_counter(connection, self._end_name)
            self._alone = read_counter(connection, self._alone_name)
        self.cleared = False  # nobody is suspected any more
        self.deaths_alone = 0  # of the one row that is tried now

    @contextmanager
    def trial(self, waiting: Sequence[int]) -> Iterator[Sequence[int]]:
        """Yield the rows to try in the block, noted before; an end of the block is no death. Raises ``Unavailable``."""
        tried, last = rows_to_try(waiting, self._deaths, self._end)
        alone = self._deaths >= IN_COMPANY and len(tried) == 1
        self.deaths_alone = self._alone if alone and tried[0] == self._end else 0
        self._note(tried[-1], self.deaths_alone + alone)
        try:
            yield tried
        except BaseException:
            self._note(self._end, self._alone)
            raise
        self._note(0 if last else self._end, 0)
        self.cleared = last

    def _note(self, end: int, alone: int) -> None:
        with self._database.write(finishing=True) as connection:
            set_counter(connection, self._end_name, end)
            set_counter(connection, self._alone_name, alone)

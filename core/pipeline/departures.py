"""Companies that leave, in steps; a process that dies at one is followed by maintenance, and by the next start.

1. its key, name and API keys are erased in one transaction (``core.records.lifecycle``);
2. the log and the copies of the control store are emptied of the key (``core.records.erasure``);
3. every process closes what it has open of it, within a second;
4. its opened shards leave the host's cache, its files the disk and the object store.

What is left of its files after the first step cannot be opened; the others make sure that nothing is left.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Final

import structlog
from sqlalchemy import Connection, Row, select, update

from core.errors import Unavailable, kind_of
from core.records.control import ControlStore
from core.records.erasure import settle_erased
from core.records.lifecycle import destroy_company
from core.records.tables import companies
from core.shards.cache import ShardCache

_LOOK_EVERY_S: Final = 0.5

log = structlog.get_logger()


@dataclass(frozen=True)
class Departure:
    """How far a deletion has come. The company is gone in any case; maintenance does the rest."""

    key_erased: bool  # no file of the control store holds its wrapped key any more
    files_removed: bool


def delete_company(
    control: ControlStore, cache: ShardCache, company: str, let_go: Callable[[str], None] = lambda _: None
) -> Departure:
    """Delete a company; ``let_go`` closes what this process has open of it.

    Raises ``NotFound``, ``Conflict`` for the default company, ``Frozen``, ``Unavailable``; nothing has happened then.
    Whatever fails afterwards is said in the answer and left to maintenance.
    """
    destroy_company(control, company)
    log.warning("company_deleted", company=company)
    key_erased = files_removed = False
    with _left_to_maintenance(company):
        let_go(company)
    with _left_to_maintenance(company):
        key_erased = settle_erased(control.database)
    with _left_to_maintenance(company):
        files_removed = company in _remove_departed(control, cache)
    return Departure(key_erased, files_removed)


def finish_departures(control: ControlStore, cache: ShardCache) -> None:
    """Do what deletions have left to do. Raises ``Unavailable``."""
    if not control.database.frozen:
        settle_erased(control.database)
        _remove_departed(control, cache)


class DepartureWatch:
    """Notices which of the companies that this process has open were deleted by another, and lets go of them."""

    def __init__(self, control: ControlStore, let_go: Callable[[str], None]) -> None:
        self._control = control
        self._let_go = let_go
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="departures", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop looking."""
        self._stop.set()
        self._thread.join()

    def look(self) -> None:
        """Let go of what has left. Raises ``Unavailable``."""
        with self._control.database.read() as connection:
            departed = {row.id for row in _departed(connection)}
        for company in departed.intersection(self._control.opened()):
            self._let_go(company)

    def _run(self) -> None:
        while not self._stop.wait(_LOOK_EVERY_S):
            try:
                self.look()
            except Exception as error:  # noqa: BLE001 - whatever it is, the next look comes
                log.error("departures_unknown", error=kind_of(error))


@contextmanager
def _left_to_maintenance(company: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # noqa: BLE001 - whatever it is, the company is gone, and its owner is told so
        log.error("departure_unfinished", company=company, error=kind_of(error))


def _remove_departed(control: ControlStore, cache: ShardCache) -> Sequence[str]:
    """Remove the files of companies that were deleted; return whose are gone.

    One that is marked as removed is looked at again: a process that was paused may have written into its folder since.
    """
    with control.database.read() as connection:
        departed = {row.id: row.removed_at for row in _departed(connection)}
    there = {*control.place.companies(), *control.depot.holding(departed)} if departed else set()
    left = [company for company, removed_at in departed.items() if removed_at is None or company in there]
    gone = [company for company in left if _remove(control, company, cache)]
    if gone:
        with control.database.write() as connection:
            connection.execute(
                update(companies)
                .where(companies.c.id.in_(gone), companies.c.deleted_at.is_not(None))
                .values(removed_at=control.clock())
            )
        log.info("companies_removed", companies=gone)
    return gone


def _departed(connection: Connection) -> Sequence[Row[Any, Any]]:
    columns = (companies.c.id, companies.c.removed_at)
    return connection.execute(select(*columns).where(companies.c.deleted_at.is_not(None))).all()


def _remove(control: ControlStore, company: str, cache: ShardCache) -> bool:
    """Remove a company's opened shards, its record store and its files; say whether they are gone."""
    try:
        for name in control.depot.names(company):
            cache.drop(PurePath(name).stem)
        control.depot.remove(company)
        control.place.drop(company)
    except (OSError, Unavailable) as error:
        log.error("company_not_removed", company=company, error=kind_of(error))
        return False
    return True

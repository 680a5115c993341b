"""Freezing: the data directory holds still, so that a copy of its files is complete. Searches go on.

First no work may begin, and what is under way ends: transactions (the writer's lock waits for them), claims, shards
being built. Then nothing is written at all, and the database files hold everything. A freeze that was cut off while it
waited ends by itself; one that took hold lasts until it is ended, or its time is over, whoever restarts meanwhile.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Final, Literal

import structlog
from tenacity import RetryCallState, Retrying, retry_if_result, stop_after_delay, wait_exponential

from core.errors import NotFound, Unavailable
from core.records.control import ControlStore
from core.records.engine import Database
from core.records.frozen import Freeze, Phase, work_under_way
from core.records.tables import store

log = structlog.get_logger()

DRAIN_S: Final = 30.0
_TAKE_HOLD_S: Final = 120.0  # longer than waiting, committing and flushing take; then a freeze begun is forgotten


@dataclass(frozen=True)
class FreezeState:
    """Whether the server is frozen, since when and until when (``None``: until somebody ends it)."""

    state: Literal["open", "draining", "frozen"]
    frozen_at: int | None = None
    frozen_until: int | None = None


@dataclass(frozen=True)
class FreezeOutcome:
    """A freeze that holds. Not ``drained``: work that did not end in time was cut off and is done again later."""

    state: FreezeState
    drained: bool


def freeze_state(control: ControlStore) -> FreezeState:
    """Return whether the server is frozen."""
    stands = [database.freeze() for database in (control.database, *_databases(control), control.audit.database)]
    if any(stand.phase is not Phase.FROZEN for stand in stands):
        furthest = max(stands, key=lambda stand: stand.phase)  # on its way, or cut off while it took hold
        return FreezeState("open" if furthest.phase is Phase.OPEN else "draining", frozen_until=furthest.until)
    with control.database.read() as connection:
        since = connection.execute(store.select()).one().frozen_at
    return FreezeState("frozen", since, stands[0].until)


def freeze(control: ControlStore, limit_s: float | None = None, drain_s: float = DRAIN_S) -> FreezeOutcome:
    """Freeze the whole server, for ``limit_s`` seconds if given; return once a copy of its files is complete.

    A frozen server stays as it is, its time limit included. Raises ``Unavailable`` when the store cannot be written or
    another process is freezing it; the server is then open.
    """
    with _alone(control, drain_s):
        if (found := freeze_state(control)).state == "frozen":
            return FreezeOutcome(found, drained=True)
        # Until all of it has taken hold it ends by itself, should this process die or the disk take no more.
        begun = Freeze(Phase.FROZEN, control.clock() + int((drain_s + _TAKE_HOLD_S) * 1e6))
        try:
            control.database.set_freeze(Freeze(Phase.DRAINING, begun.until))  # first: no company comes into being now
            companies = _databases(control)
            everything = [*companies, control.audit.database, control.database]
            for database in everything:
                database.set_freeze(Freeze(Phase.DRAINING, begun.until))
            drained = _drain(control, companies, drain_s)
            _impose(begun, everything)
            until = None if limit_s is None else control.clock() + int(limit_s * 1e6)
            _impose(Freeze(Phase.FROZEN, until), everything)
        except BaseException:
            _open(control)
            raise
        found = freeze_state(control)
        if found.state != "frozen":
            raise Unavailable("the time given was over before the freeze took hold; give it more", code="store_busy")
        log.info("frozen", until=until, drained=drained)
        return FreezeOutcome(found, drained)


def unfreeze(control: ControlStore) -> None:
    """End a freeze; ending none is no error. Raises ``Unavailable``."""
    with _alone(control, DRAIN_S):
        _open(control)
    log.info("unfrozen")


@contextmanager
def _alone(control: ControlStore, drain_s: float) -> Iterator[None]:
    """Hold the right to freeze and unfreeze. Raises ``Unavailable`` when another process keeps it."""
    with control.place.alone("freeze", drain_s + _TAKE_HOLD_S):
        yield


def _databases(control: ControlStore) -> list[Database]:
    found = []
    for company in control.company_ids():
        with suppress(NotFound):  # deleted meanwhile
            found.append(control.records(company).database)
    return found


def _impose(stand: Freeze, databases: list[Database]) -> None:
    for database in databases:
        database.set_freeze(stand)
        database.settle()


def _open(control: ControlStore) -> None:
    """End the freeze of every database that can be written. Raises the first ``Unavailable``, after trying all."""
    failed: Unavailable | None = None
    for database in (*_databases(control), control.audit.database, control.database):
        try:
            if database.freeze().phase is not Phase.OPEN:
                database.set_freeze(Freeze())
        except Unavailable as error:
            failed = failed or error
    if failed:
        raise failed


def _drain(control: ControlStore, companies: list[Database], drain_s: float) -> bool:
    """Wait until no lease and no claim is held; say whether that came to pass."""

    def busy() -> bool:
        now = control.clock()
        for database in companies:
            with database.read() as connection:
                if work_under_way(connection, now):
                    return True
        return False

    def still_busy(_: RetryCallState) -> bool:
        return True

    retrying = Retrying(
        retry=retry_if_result(bool),
        wait=wait_exponential(0.02, max=0.5),
        stop=stop_after_delay(drain_s),
        retry_error_callback=still_busy,
    )
    return not retrying(busy)

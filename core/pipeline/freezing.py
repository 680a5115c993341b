"""Freezing: the data directory holds still, so that a copy of its files is complete. Searches go on.

First no work may begin, and what is under way ends: transactions (the writer's lock waits for them), claims, shards
being built. Then nothing is written at all, and the database files hold everything. A freeze that was cut off while it
waited ends by itself; one that took hold lasts until it is ended, or its time is over, whoever restarts meanwhile.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Literal

import structlog
from filelock import FileLock, Timeout
from tenacity import RetryCallState, Retrying, retry_if_result, stop_after_delay, wait_exponential

from core.errors import Unavailable
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
    database = control.database
    found = database.freeze()
    if found.phase is not Phase.FROZEN:
        return FreezeState("draining" if found.phase is Phase.DRAINING else "open", frozen_until=found.until)
    with database.read() as connection:
        since = connection.execute(store.select()).one().frozen_at
    return FreezeState("frozen", since, found.until)


def freeze(control: ControlStore, limit_s: float | None = None, drain_s: float = DRAIN_S) -> FreezeOutcome:
    """Freeze the whole server, for ``limit_s`` seconds if given; return once a copy of its files is complete.

    A frozen server stays as it is, its time limit included. Raises ``Unavailable`` when the store cannot be written or
    another process is freezing it; the server is then open.
    """
    with _alone(control, drain_s):
        if (found := freeze_state(control)).state == "frozen":
            return FreezeOutcome(found, drained=True)
        try:
            companies = _databases(control)
            begun = control.clock() + int((drain_s + _TAKE_HOLD_S) * 1e6)
            for database in (control.database, *companies):
                database.set_freeze(Freeze(Phase.DRAINING, begun))
            drained = _drain(control, companies, drain_s)
            until = None if limit_s is None else control.clock() + int(limit_s * 1e6)
            for database in (*companies, control.database):
                database.set_freeze(Freeze(Phase.FROZEN, until))
                database.settle()
        except BaseException:
            _open(control)
            raise
        log.info("frozen", until=until, drained=drained)
        return FreezeOutcome(freeze_state(control), drained)


def unfreeze(control: ControlStore) -> None:
    """End a freeze; ending none is no error. Raises ``Unavailable``."""
    with _alone(control, DRAIN_S):
        _open(control)
    log.info("unfrozen")


@contextmanager
def _alone(control: ControlStore, drain_s: float) -> Iterator[None]:
    """Hold the right to freeze and unfreeze. Raises ``Unavailable`` when another process keeps it."""
    try:
        with FileLock(control.root / "freeze.lock", timeout=drain_s + _TAKE_HOLD_S):
            yield
    except Timeout:
        raise Unavailable("another process is freezing the server; try again", code="store_busy") from None


def _databases(control: ControlStore) -> list[Database]:
    return [control.records(company).database for company in control.company_ids()]


def _open(control: ControlStore) -> None:
    for database in (*_databases(control), control.database):
        if database.freeze().phase is not Phase.OPEN:
            database.set_freeze(Freeze())


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

"""Named leases in the record store: at most one holder, who must finish or renew before the deadline."""

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite

from core.clock import Clock
from core.errors import OstrakaError, StaleGeneration
from core.ids import new_id
from core.records.counters import read_counter, set_counter
from core.records.deadlines import holds
from core.records.engine import Database
from core.records.tables import leases

_RENEWALS: Final = 3  # in the time of a lease
_LEASE_S_MIN: Final = 10.0
_HELD_US_MAX: Final = 1_800_000_000  # no shard takes as long


@dataclass
class Held:
    """A lease that is held, and how many tries before never ended; the holder may set that to 0."""

    name: str
    token: str
    deaths: int


def take_lease(connection: Connection, name: str, *, now: int, lease_us: int) -> str | None:
    """Take a lease that is free or has run out; return its token, or ``None`` while somebody holds it."""
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    token = new_id("lease")
    statement = dialect.insert(leases).values(name=name, token=token, until=now + lease_us)
    taken = connection.execute(
        statement.on_conflict_do_update(
            index_elements=[leases.c.name],
            set_={"token": token, "until": now + lease_us},
            where=~holds(leases.c.until, now),
        ).returning(leases.c.token)
    ).scalar()
    return token if taken == token else None


def drop_lease(connection: Connection, name: str, token: str) -> bool:
    """Give a lease back; one that ran out and was taken by another is left alone. Return whether it was ours."""
    return connection.execute(delete(leases).where(leases.c.name == name, leases.c.token == token)).rowcount > 0


def renew_lease(connection: Connection, name: str, token: str, until: int) -> None:
    """Hold a lease for longer; one that was lost meanwhile is left alone."""
    connection.execute(update(leases).where(leases.c.name == name, leases.c.token == token).values(until=until))


def shortened_us(lease_s: float, deaths: int) -> int:
    """Return the microseconds of a lease after so many deaths: less after each, but no less than a renewal may take."""
    return int(max(lease_s / (1 + deaths), min(lease_s, _LEASE_S_MIN)) * 1e6)


def refuse_lost(connection: Connection, held: Iterable[Held]) -> None:
    """Raise ``StaleGeneration`` when somebody has taken a lease over, so that what was done under it comes too late.

    One that ran out and nobody wanted still counts. Until the transaction ends nobody takes it.
    """
    for lease in held:
        mine = select(leases.c.token).where(leases.c.name == lease.name, leases.c.token == lease.token)
        if connection.execute(mine.with_for_update()).first() is None:
            raise StaleGeneration("the lease was lost while a shard was being built")


@contextmanager
def renewing(database: Database, clock: Clock, held: Held, lease_us: int) -> Iterator[None]:
    """Renew a lease while a block works under it, half an hour at most: a process that is stopped or hangs loses it."""
    ended = threading.Event()

    def renew() -> None:
        for _ in range(int(_HELD_US_MAX / lease_us * _RENEWALS)):
            if ended.wait(lease_us / 1e6 / _RENEWALS):
                return
            with suppress(OstrakaError), database.write(finishing=True, synced=False) as connection:
                renew_lease(connection, held.name, held.token, clock() + lease_us)

    thread = threading.Thread(target=renew, name=f"renew {held.name}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@contextmanager
def hold_lease(
    database: Database, name: str, clock: Clock, lease_s: float, tries: str = "", shortened_by: str = ""
) -> Iterator[Held | None]:
    """Hold a lease for a block of work; yield ``None``, and the block must do nothing, while somebody else does.

    It is renewed, so that ``lease_s`` is how long a dead or paused process holds others up, not how long work may take.
    ``tries`` names a counter of tries that have begun and not ended, raised before the work, so that one which kills
    its process is counted too. After each the lease is shorter, for the next to come sooner; so it is by a counter
    ``shortened_by``, which somebody else raises. Raises ``Unavailable``.
    """
    with database.write(synced=False) as connection:
        deaths = read_counter(connection, tries) if tries else 0
        others = read_counter(connection, shortened_by) if shortened_by else 0
        lease_us = shortened_us(lease_s, deaths + others)
        token = take_lease(connection, name, now=clock(), lease_us=lease_us)
        if token and tries:
            set_counter(connection, tries, deaths + 1)
    if token is None:
        yield None
        return
    held = Held(name, token, deaths)
    try:
        with renewing(database, clock, held, lease_us):
            yield held
    finally:
        with database.write(finishing=True, synced=False) as connection:
            if drop_lease(connection, name, token) and tries:  # else another has counted this one as dead
                set_counter(connection, tries, held.deaths)

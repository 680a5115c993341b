"""Named leases in the record store: at most one holder, who must finish or renew before the deadline."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import Connection, delete, update
from sqlalchemy.dialects import postgresql, sqlite

from core.clock import Clock
from core.ids import new_id
from core.records.counters import read_counter, set_counter
from core.records.deadlines import holds
from core.records.engine import Database
from core.records.tables import leases


@dataclass
class Held:
    """A lease that is held, and how many tries before never ended; the holder may set that to 0."""

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


@contextmanager
def hold_lease(database: Database, name: str, clock: Clock, lease_s: float, tries: str = "") -> Iterator[Held | None]:
    """Hold a lease for a block of work; yield ``None``, and the block must do nothing, while somebody else does.

    ``tries`` names a counter of tries that have begun and not ended, raised before the work, so that one which kills
    its process is counted too. After each the lease is shorter, for the next to come sooner: it saves work, the commit
    guards correctness. Raises ``Unavailable``.
    """
    with database.write(synced=False) as connection:
        deaths = read_counter(connection, tries) if tries else 0
        token = take_lease(connection, name, now=clock(), lease_us=int(lease_s * 1e6 / (1 + deaths)))
        if token and tries:
            set_counter(connection, tries, deaths + 1)
    if token is None:
        yield None
        return
    held = Held(deaths)
    try:
        yield held
    finally:
        with database.write(finishing=True, synced=False) as connection:
            if drop_lease(connection, name, token) and tries:  # else another has counted this one as dead
                set_counter(connection, tries, held.deaths)

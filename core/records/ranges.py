"""Claims on ranges of a namespace's embedded bulk rows: several workers build shards of one backlog at a time.

A claim is a lease whose name says what is done with which rows: namespace, kind of work, first and last row. Ranges do
not overlap, so that no row gets into two shards. A row that is embedded within a range after it was claimed waits until
the claim ends.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import structlog
from sqlalchemy import ColumnElement, Connection, Select, delete, func, select

from core.clock import Clock
from core.records.counters import read_counter, set_counter
from core.records.deadlines import holds
from core.records.engine import Database
from core.records.leases import Held, drop_lease, renewing, shortened_us, take_lease
from core.records.tables import IS_EMBEDDED, Lane, leases, memories

log = structlog.get_logger()

_ROW_MAX: Final = 2**63 - 1


@dataclass(frozen=True)
class Range:
    """Rows from the first to the last, both included."""

    first: int
    last: int


@dataclass
class HeldRange(Held):
    """A claim that is held; without rows, nothing is claimed."""

    rows: Sequence[int]


def tries_of(namespace_id: int, work: str) -> str:
    """Return the name under which tries of a kind of work that have not ended are counted."""
    return f"flush-{namespace_id}-{work}"


def select_embedded(namespace_id: int, lane: Lane) -> Select[Any]:
    """Return the query for the ids of embedded rows of a lane, in order of acceptance."""
    wanted = memories.c.namespace_id == namespace_id, IS_EMBEDDED, memories.c.lane == lane
    return select(memories.c.id).where(*wanted).order_by(memories.c.id)


def gaps_between(claimed: Iterable[Range]) -> list[Range]:
    """Return the ranges that ascending ones leave free, ascending; there may be no rows in them."""
    gaps, first = [], 0
    for each in claimed:
        if first < each.first:
            gaps.append(Range(first, each.first - 1))
        first = each.last + 1
    return [*gaps, Range(first, _ROW_MAX)]


def claimed_ranges(connection: Connection, namespace_id: int, now: int, work: str = "") -> list[Range]:
    """Return the ranges of a namespace that are claimed now, for one kind of work or any, ascending."""
    names = connection.execute(
        select(leases.c.name).where(_of(namespace_id, work), holds(leases.c.until, now))
    ).scalars()
    return sorted((_range_of(name) for name in names), key=lambda each: each.first)


def end_lost_claims(connection: Connection, namespace_id: int, now: int) -> None:
    """End the claims whose time ran out: whoever was at work comes too late now, and is counted as dead."""
    lost = (
        connection.execute(
            delete(leases).where(_of(namespace_id), ~holds(leases.c.until, now)).returning(leases.c.name)
        )
        .scalars()
        .all()
    )
    for name in lost:
        log.warning("flush_lost", lease=name)
        tries = tries_of(namespace_id, name.split("-")[2])
        set_counter(connection, tries, read_counter(connection, tries) + 1)


@dataclass(frozen=True)
class Free:
    """Embedded bulk rows that can be claimed, counted up to a bound; zeros where there are none."""

    most: int = 0  # in the fullest gap between claims
    first: int = 0  # in the oldest
    oldest: int = 0  # the id of the oldest row


def count_free(connection: Connection, namespace_id: int, rows_max: int, now: int) -> Free:
    """Count the embedded bulk rows that nobody has claimed, up to ``rows_max`` in each gap."""
    counts = []
    for gap in gaps_between(claimed_ranges(connection, namespace_id, now)):
        rows = _rows_in(namespace_id, gap).limit(rows_max).subquery()
        count, oldest = connection.execute(select(func.count(), func.min(rows.c.id))).one()
        counts += [(count, oldest)] if count else []
    return Free(max(count for count, _ in counts), *counts[0]) if counts else Free()


@contextmanager
def hold_range(
    database: Database,
    namespace_id: int,
    work: str,
    clock: Clock,
    lease_s: float,
    *,
    rows_min: int,
    rows_max: int,
) -> Iterator[HeldRange | None]:
    """Claim embedded bulk rows for a block of work: the oldest ``rows_min`` or more that lie together, else none.

    The claim is renewed, as in :func:`core.records.leases.hold_lease`.
    Claims of this kind of ``work`` that ran out are counted as deaths. While there are any, one claim of the kind is
    held at a time: then ``None`` comes for the others, who must do nothing. The holder may set the deaths to 0. After
    each death the lease is shorter, for the next to come sooner. Raises ``Unavailable``.
    """
    tries = tries_of(namespace_id, work)
    with database.write(synced=False) as connection:
        now = clock()
        end_lost_claims(connection, namespace_id, now)
        deaths = read_counter(connection, tries)
        busy = deaths and claimed_ranges(connection, namespace_id, now, work)
        rows = [] if busy else _free_rows(connection, namespace_id, rows_min, rows_max, now)
        name = f"{tries}-{rows[0]}-{rows[-1]}" if rows else ""
        lease_us = shortened_us(lease_s, deaths)
        token = take_lease(connection, name, now=now, lease_us=lease_us) if name else None
    if token is None:
        yield None if busy else HeldRange("", "", deaths, [])
        return
    held = HeldRange(name, token, deaths, rows)
    try:
        with renewing(database, clock, held, lease_us):
            yield held
    finally:
        with database.write(finishing=True, synced=False) as connection:
            if drop_lease(connection, name, token) and held.deaths != deaths:
                set_counter(connection, tries, held.deaths)


def _free_rows(connection: Connection, namespace_id: int, rows_min: int, rows_max: int, now: int) -> list[int]:
    """Return the ids of embedded bulk rows with no claimed range among them: the first that are enough."""
    for gap in gaps_between(claimed_ranges(connection, namespace_id, now)):
        rows = list(connection.execute(_rows_in(namespace_id, gap).limit(rows_max)).scalars())
        if len(rows) >= max(rows_min, 1):
            return rows
    return []


def _rows_in(namespace_id: int, gap: Range) -> Select[Any]:
    return select_embedded(namespace_id, Lane.BULK).where(memories.c.id.between(gap.first, gap.last))


def _of(namespace_id: int, work: str = "") -> ColumnElement[bool]:
    return leases.c.name.startswith(f"flush-{namespace_id}-{work}", autoescape=True)


def _range_of(name: str) -> Range:
    _, _, _, first, last = name.split("-")
    return Range(int(first), int(last))

"""Whether a database is frozen, kept in the database itself: each write transaction looks, so none slips through.

While it *drains*, no work begins and work under way may end. While it is *frozen*, nothing is written. A freeze whose
time has run out is over for everybody who looks at the clock; the next writer removes what is left of it.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

from sqlalchemy import Connection, Select, Table, delete, insert, null, or_, select, update

from core.errors import Frozen
from core.records.audittables import chain
from core.records.deadlines import holds
from core.records.schema import Kind
from core.records.tables import State, counters, leases, memories, store

_RETRY_S: Final = 30.0  # a freeze without a limit ends when somebody says so
_RETRY_S_MAX: Final = 300.0


class Phase(IntEnum):
    """How far a freeze has come."""

    OPEN = 0
    DRAINING = 1
    FROZEN = 2


@dataclass(frozen=True)
class Freeze:
    """The freeze of one database, as it stands in it."""

    phase: Phase = Phase.OPEN
    until: int | None = None

    def at(self, now: int) -> "Freeze":
        """Return what is left of it at that time."""
        return Freeze() if self.until is not None and self.until <= now else self


_PHASE: Final = "frozen"
_UNTIL: Final = "frozen_until"
# Built once: every write asks.
_OF_COMPANY: Final = select(counters.c.name, counters.c.value).where(
    or_(counters.c.name == _PHASE, counters.c.name == _UNTIL)
)
_HOLDERS: Final = {"control": store, "audit": chain}
_COLUMNS: Final = frozenset({"frozen_at", "frozen_until"})
_OF_ONE_ROW: Final = {kind: select(table.c.frozen_at, table.c.frozen_until) for kind, table in _HOLDERS.items()}


def read_freeze(connection: Connection, kind: Kind) -> Freeze:
    """Return the freeze that a database holds, whatever the time."""
    if kind == "company":
        found = {row.name: row.value for row in connection.execute(_OF_COMPANY)}
        return Freeze(Phase(found.get(_PHASE, 0)), found.get(_UNTIL))
    row = connection.execute(_OF_ONE_ROW[kind]).first()
    if row is None or row.frozen_at is None:
        return Freeze()
    return Freeze(Phase.FROZEN if row.frozen_at else Phase.DRAINING, row.frozen_until)  # 0: not yet


def write_freeze(connection: Connection, kind: Kind, freeze: Freeze, now: int) -> None:
    """Put a freeze into a database, or take it away."""
    if kind != "company":
        frozen_at = {Phase.OPEN: None, Phase.DRAINING: 0, Phase.FROZEN: now}[freeze.phase]
        connection.execute(update(_HOLDERS[kind]).values(frozen_at=frozen_at, frozen_until=freeze.until))
        return
    connection.execute(delete(counters).where(or_(counters.c.name == _PHASE, counters.c.name == _UNTIL)))
    values = {_PHASE: freeze.phase or None, _UNTIL: freeze.until}
    rows = [{"name": name, "value": value} for name, value in values.items() if value is not None]
    if rows:
        connection.execute(insert(counters), rows)


def without_freeze(table: Table) -> Select[Any]:
    """Return a query of all rows of a table, but for the freeze that it may hold."""
    if table is counters:
        return select(counters).where(counters.c.name.not_in((_PHASE, _UNTIL)))
    return select(*(null().label(each.name) if each.name in _COLUMNS else each for each in table.c))


def refuse_frozen(connection: Connection, kind: Kind, now: int, *, finishing: bool) -> None:
    """Raise ``Frozen`` unless this write transaction may go on; ``finishing`` ends work that was under way."""
    found = read_freeze(connection, kind)
    if found.phase is Phase.OPEN:
        return
    if found.at(now).phase is Phase.OPEN:
        write_freeze(connection, kind, Freeze(), now)
        return
    if finishing and found.phase is Phase.DRAINING:
        return
    left_s = _RETRY_S if found.until is None else (found.until - now) / 1e6
    raise Frozen(
        "the server is frozen while its data is copied; searches go on, write again later",
        retry_after_s=min(left_s, _RETRY_S_MAX),
    )


def work_under_way(connection: Connection, now: int) -> bool:
    """Say whether somebody in the company holds a lease or a claim."""
    leased = select(leases.c.name).where(holds(leases.c.until, now))
    claimed = select(memories.c.id).where(
        memories.c.state == State.PENDING, memories.c.lease.is_not(None), holds(memories.c.lease_until, now)
    )
    return any(connection.execute(statement.limit(1)).first() is not None for statement in (leased, claimed))

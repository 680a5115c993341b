"""The ledger: every row ever accepted is in exactly one place, and the numbers show it.

    accepted = pending + embedded + indexed + failed + deleted + expired

What was accepted is the sum of the jobs' own numbers, written once and never touched again; where it is now is counted
from the rows. Rows of deleted namespaces count as deleted.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Select, func, literal_column, select

from core.records.tables import State, deletions, jobs, memories, namespaces

EXPIRED: Final = "expired"  # deleted, and no receipt says by whom: its time ran out
PLACES: Final = (*(state.value for state in State), EXPIRED)


@dataclass(frozen=True)
class Balance:
    """The rows of one namespace, or of several, by where they are."""

    accepted: int
    places: Mapping[str, int]

    @property
    def present(self) -> int:
        """How many rows still have content, old versions included."""
        return sum(count for place, count in self.places.items() if place not in {State.DELETED, EXPIRED})

    @property
    def imbalance(self) -> int:
        """Rows accepted that are nowhere (or, below zero, rows that nobody accepted). Always 0."""
        return self.accepted - sum(self.places.values())


NOTHING: Final = Balance(0, dict.fromkeys(PLACES, 0))


def read_ledger(connection: Connection) -> dict[int, Balance]:
    """Return the balance of every namespace that ever had a job, deleted ones too, by row id.

    Only what is small is looked at: the partial indexes name the rows on their way, failed, deleted or bound to
    expire, one covering index counts all, and what remains is indexed. 100,000 rows of as many jobs take about 40 ms;
    a look at each row takes 230.
    """
    places = {
        State.PENDING: _count(connection, _of(State.PENDING)),
        State.EMBEDDED: _count(connection, _of(State.EMBEDDED)),
        State.FAILED: _count(connection, _of(State.FAILED)),
        State.DELETED: _count(connection, _DELETED),
        EXPIRED: _count(connection, _EXPIRED),
    }
    everything = _count(connection, _ALL)
    elsewhere = sum(places.values(), Counter[int]())
    places[State.INDEXED] = Counter({namespace: rows - elsewhere[namespace] for namespace, rows in everything.items()})
    return _balances(connection, places)


def audit_ledger(connection: Connection) -> dict[int, Balance]:
    """Return the same as :func:`read_ledger` from a look at each row; a row in a state that is none is nowhere."""
    places = {place: Counter[int]() for place in PLACES}
    for namespace, state, receipted, rows in connection.execute(_EACH):
        place = EXPIRED if state == State.DELETED and not receipted else state
        places.setdefault(place, Counter())[namespace] += rows
    return _balances(connection, {place: places[place] for place in PLACES})


def public_ids(connection: Connection) -> dict[int, str]:
    """Return the opaque id of every live namespace by its row id; no key is needed for that."""
    rows = connection.execute(select(namespaces.c.id, namespaces.c.public_id).where(namespaces.c.deleted_at.is_(None)))
    return {row.id: row.public_id for row in rows}


def total(balances: Iterable[Balance]) -> Balance:
    """Return several balances as one."""
    listed = list(balances)
    places = {place: sum(balance.places[place] for balance in listed) for place in PLACES}
    return Balance(sum(balance.accepted for balance in listed), places)


def _balances(connection: Connection, places: Mapping[str, Counter[int]]) -> dict[int, Balance]:
    accepted = _count(connection, _ACCEPTED)
    namespaces = {*accepted, *(namespace for counts in places.values() for namespace in counts)}
    return {
        namespace: Balance(accepted[namespace], {place: places[place][namespace] for place in PLACES})
        for namespace in sorted(namespaces)
    }


def _count(connection: Connection, statement: Select[Any]) -> Counter[int]:
    return Counter({namespace: int(rows) for namespace, rows in connection.execute(statement)})


# The sum keeps SQLite from reading every row through an index that happens to be ordered by namespace.
_NAMESPACE: Final = (memories.c.namespace_id + literal_column("0")).label("namespace")


def _of(state: State) -> Select[Any]:
    return select(_NAMESPACE, func.count()).where(memories.c.state == state).group_by(_NAMESPACE)


_ALL: Final = select(memories.c.namespace_id, func.count()).group_by(memories.c.namespace_id)
_DELETED: Final = (
    select(deletions.c.namespace_id, func.count())
    .join(memories, memories.c.deletion_id == deletions.c.id)
    .where(memories.c.deletion_id.is_not(None))
    .group_by(deletions.c.namespace_id)
)
_EXPIRED: Final = (
    select(_NAMESPACE, func.count())
    .where(memories.c.expires_at >= 0, memories.c.state == State.DELETED, memories.c.deletion_id.is_(None))
    .group_by(_NAMESPACE)
)
_EACH: Final = select(
    memories.c.namespace_id, memories.c.state, memories.c.deletion_id.is_not(None).label("receipted"), func.count()
).group_by(memories.c.namespace_id, memories.c.state, "receipted")
_ACCEPTED: Final = select(jobs.c.namespace_id, func.sum(jobs.c.accepted)).group_by(jobs.c.namespace_id)

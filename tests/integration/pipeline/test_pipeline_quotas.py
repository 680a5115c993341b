"""Quotas on a real record store: exact at the bound, whoever writes; what is deleted makes room."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text

from core.errors import OverQuota
from core.memory import NewMemory, stored_bytes
from core.pipeline.admission import UNBOUNDED, Admission, quota_of
from core.records.backlog import Load
from core.records.deletion import delete_memory, expire
from core.records.tables import Lane
from core.records.terms import NO_BOUNDS, Terms
from core.records.usage import read_usage
from tests.integration.processes import eventually
from tests.integration.records.conftest import Desk
from tests.stores import IN_FILES, LONG_ON_POSTGRES

RECORD_STORES = LONG_ON_POSTGRES


class Gate:
    """An admission with a quota, on a clock of the test's own."""

    def __init__(self, desk: Desk, terms: Terms) -> None:
        self.desk = desk
        self.terms = terms
        self.now = 100.0
        self.admission = Admission(
            desk.records.database,
            UNBOUNDED,
            lambda: 1,
            free_bytes_min=1,
            quota=lambda: quota_of(self.terms),
            clock=lambda: self.now,
        )

    def write(self, *items: NewMemory, lane: Lane = Lane.INTERACTIVE) -> None:
        if self.admission.due:
            self.admission.measure()
        with self.admission.admitted(lane, len(items), stored_bytes(items)):
            self.desk.write(*(item.model_dump(exclude_unset=True) for item in items), lane=lane)

    def refuses(self, *items: NewMemory) -> bool:
        try:
            self.write(*items)
        except OverQuota:
            return True
        return False


def usage(desk: Desk) -> Load:
    with desk.records.database.read() as connection:
        return read_usage(connection)


def note(number: int = 0, content: str = "note") -> NewMemory:
    return NewMemory(id=f"m-{number}", content=content)


@pytest.fixture
def desk(control, clock):
    control.clock = clock
    return Desk(control.records(control.companies()[0].id), clock)


def test_a_company_keeps_as_much_as_its_quota_and_no_more(desk):
    gate = Gate(desk, Terms(memories_max=10))
    gate.write(*(note(number) for number in range(8)))
    assert gate.refuses(note(8), note(9), note(10))
    gate.write(note(8), note(9))
    for _ in range(2):
        assert gate.refuses(note(10))
        gate.now += 1
    assert usage(desk).rows == 10
    assert gate.admission.over_quota == 3


def test_both_lanes_share_the_quota(desk):
    gate = Gate(desk, Terms(memories_max=2))
    gate.write(note(0), lane=Lane.BULK)
    gate.write(note(1))
    assert gate.refuses(note(2))


def test_a_version_takes_room_as_a_memory_does(desk):
    gate = Gate(desk, Terms(memories_max=2))
    gate.write(note(0))
    gate.write(note(0, "changed"))
    gate.now += 1
    assert gate.refuses(note(0, "changed again"))


@pytest.mark.parametrize("content", ["plain", "“ünïcödé” 漢字 🦜", 'quotes " and \\ and \n lines'])
def test_bytes_are_counted_as_they_are_stored(desk, content):
    items = [note(0, content), NewMemory(content=content, tags=["t"], metadata={"k": [1, None, "ü"]}, session="s")]
    gate = Gate(desk, Terms(bytes_max=stored_bytes(items)))
    gate.write(*items)
    assert usage(desk) == Load(2, stored_bytes(items))
    assert gate.refuses(note(1))
    gate.now += 1
    assert gate.refuses(note(1))


@pytest.mark.parametrize("terms", [Terms(memories_max=0), Terms(bytes_max=0)])
def test_a_quota_of_nothing_keeps_nothing(desk, terms):
    assert Gate(desk, terms).refuses(note())


def test_what_is_deleted_or_expires_makes_room(desk, clock):
    gate = Gate(desk, Terms(memories_max=2))
    gate.write(note(0), NewMemory(content="brief", ttl_seconds=10))
    gate.now += 1
    assert gate.refuses(note(1))
    delete_memory(desk.records, desk.namespace(), "m-0")
    gate.now += 1
    gate.write(note(1))
    assert gate.refuses(note(2))
    clock.advance(11)
    assert expire(desk.records, 10) == 1
    gate.now += 1
    gate.write(note(2))
    assert usage(desk).rows == 2


def test_a_quota_that_changes_holds_at_the_next_measurement(desk):
    gate = Gate(desk, NO_BOUNDS)
    gate.write(*(note(number) for number in range(5)))
    gate.terms = Terms(memories_max=3)
    gate.now += 1
    assert gate.refuses(note(5))
    gate.terms = NO_BOUNDS
    gate.now += 1
    gate.write(note(5))


def test_a_quota_that_cannot_be_read_lets_nothing_in(desk):
    gate = Gate(desk, NO_BOUNDS)
    gate.terms = None  # type: ignore[assignment]
    with pytest.raises(AttributeError):
        gate.write(note())
    assert usage(desk).rows == 0


def test_eight_writers_reach_the_bound_exactly(desk):
    gate = Gate(desk, Terms(memories_max=200))
    desk.namespace()

    def fill(writer: int) -> None:
        for number in range(100):
            if number % 7 == 0:
                gate.now += 1  # a measurement amid the writes of others
            gate.refuses(note(writer * 1_000 + number))
            assert usage(desk).rows <= 200

    with ThreadPoolExecutor(8) as writers:
        for done in [writers.submit(fill, writer) for writer in range(8)]:
            done.result()

    def topped_up() -> bool:  # what was written amid a measurement was counted twice until the next
        gate.now += 1
        return gate.refuses(note(99_999))

    eventually(topped_up)
    assert usage(desk).rows == 200


@IN_FILES
def test_usage_is_read_from_one_index(desk):
    with desk.records.database.read() as connection:
        plan = connection.execute(
            text("EXPLAIN QUERY PLAN SELECT count(*), sum(bytes) FROM memories WHERE deleted_at IS NULL")
        ).all()
    assert [row.detail for row in plan] == ["SCAN memories USING COVERING INDEX ix_memories_kept"]

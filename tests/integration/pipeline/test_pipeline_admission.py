"""Bounds on what is on its way, on a real record store: what is let in, what is refused, when there is room again."""

import pytest

from core.errors import Busy, DiskFull, TooLarge
from core.pipeline.admission import UNBOUNDED, Admission
from core.records.backlog import Load
from core.records.tables import Lane
from tests.integration.records.conftest import Desk

BOUND = Load(10, 10_000)


class Gate:
    """An admission on a clock and a disk of the test's own, and writes that pass through it."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.now = 100.0
        self.free = 1_000
        self.quota = UNBOUNDED
        self.admission = Admission(
            desk.records.database,
            BOUND,
            lambda: self.free,
            free_bytes_min=500,
            quota=lambda: self.quota,
            clock=lambda: self.now,
        )

    def measure(self, after_s: float = 1.0) -> None:
        self.now += after_s
        assert self.admission.due
        self.admission.measure()

    def write(self, rows: int, lane: Lane = Lane.INTERACTIVE, content: str = "note") -> None:
        if self.admission.due:
            self.admission.measure()
        with self.admission.admitted(lane, rows, rows * len(content)):
            self.desk.write(*[content] * rows, lane=lane)


@pytest.fixture
def desk(control, clock):
    control.clock = clock
    return Desk(control.records(control.companies()[0].id), clock)


@pytest.fixture
def gate(desk):
    return Gate(desk)


def test_a_lane_takes_as_much_as_its_bound_and_no_more(gate, desk):
    gate.write(7)
    gate.write(3)
    with pytest.raises(Busy) as refused:
        gate.write(1)
    assert refused.value.reason == "queue_full"
    assert len(desk.rows(desk.namespace())) == 10
    gate.measure()
    with pytest.raises(Busy):
        gate.write(1)


def test_one_full_lane_leaves_the_other_alone(gate):
    gate.write(10, Lane.BULK)
    gate.write(5)
    with pytest.raises(Busy):
        gate.write(1, Lane.BULK)
    gate.write(5)


def test_bytes_are_bounded_too(gate):
    gate.write(3, content="x" * 3_000)
    with pytest.raises(Busy):
        gate.write(1, content="x" * 1_001)
    gate.measure()
    with pytest.raises(Busy):
        gate.write(1, content="x" * 1_001)


def test_what_could_never_fit_is_refused_for_good(gate, desk):
    for rows, content in ((11, "note"), (1, "x" * 10_001)):
        with pytest.raises(TooLarge):
            gate.write(rows, content=content)
    gate.write(10)


def test_embedded_rows_are_on_their_way_and_indexed_ones_are_not(gate, desk):
    gate.write(10)
    desk.embed()
    gate.measure()
    with pytest.raises(Busy):
        gate.write(1)
    desk.flush(desk.namespace())
    gate.measure()
    gate.write(10)


def test_room_is_seen_at_the_next_measurement(gate, desk):
    gate.write(10)
    desk.embed()
    desk.flush(desk.namespace())
    with pytest.raises(Busy):
        gate.write(1)
    gate.now += 1
    gate.write(1)


def test_a_write_counts_while_it_is_under_way(gate):
    gate.measure()
    with gate.admission.admitted(Lane.INTERACTIVE, 10, 0), pytest.raises(Busy):
        gate.write(1)


def test_a_measurement_in_the_middle_of_a_write_forgets_nothing(gate):
    gate.write(4)
    with gate.admission.admitted(Lane.INTERACTIVE, 6, 0):
        gate.measure()
        with pytest.raises(Busy):
            gate.write(1)


def test_a_write_that_fails_gives_its_room_back(gate):
    gate.measure()
    with pytest.raises(RuntimeError), gate.admission.admitted(Lane.INTERACTIVE, 10, 0):
        raise RuntimeError
    gate.write(10)


def test_what_another_process_let_in_is_seen_at_the_next_measurement(gate, desk):
    other = Gate(desk)
    other.measure()
    gate.write(10)
    other.write(10)
    for each in (gate, other):
        each.measure()
        with pytest.raises(Busy):
            each.write(1)


def test_the_time_to_come_back_follows_from_what_left(gate, desk):
    gate.write(10)
    token, rows = desk.claim(limit=2)
    gate.measure(after_s=5)
    with pytest.raises(Busy) as refused:
        gate.write(1)
    assert refused.value.retry_after_s == 60  # what is claimed has not left

    for _ in range(3):
        desk.store(token, rows)
        desk.flush(desk.namespace())
        token, rows = desk.claim(limit=2)
        gate.measure(after_s=5)
    with pytest.raises(Busy) as refused:
        gate.write(10)
    assert refused.value.retry_after_s == pytest.approx(4 / (6 / 20))  # 4 too many; 6 left in 20 seconds


def test_a_disk_that_is_nearly_full_takes_nothing_in(gate):
    gate.free = 499
    with pytest.raises(DiskFull) as refused:
        gate.write(1)
    assert (refused.value.reason, refused.value.retry_after_s) == ("disk_full", 30)
    gate.free = 500
    gate.now += 1
    gate.write(1)


def test_only_one_caller_is_asked_to_measure_at_a_time(gate):
    assert gate.admission.due
    gate.admission.measure()
    assert not gate.admission.due
    gate.now += 1
    assert gate.admission.due
    seen = []
    measured = gate.admission._free_bytes
    gate.admission._free_bytes = lambda: seen.append(gate.admission.due) or measured()
    gate.admission.measure()
    assert seen == [False]

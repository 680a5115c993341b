"""Claims on ranges of embedded bulk rows: each row has one builder, and what a dead one left is found."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
from sqlalchemy import select

from core.records.counters import read_counter
from core.records.leases import take_lease
from core.records.ranges import Range, claimed_ranges, count_free, end_lost_claims, hold_range
from core.records.tables import Lane, leases
from core.records.waiting import waiting_namespaces

LEASE_S = 60


@pytest.fixture
def notes(desk):
    return desk.namespace()


def embedded(desk, count: int, lane: Lane = Lane.BULK) -> list[int]:
    desk.write(*(f"note {number}" for number in range(count)), lane=lane)
    return desk.embed(lane)


def hold(desk, namespace, work: str = "shard", *, at_least: int = 1, most: int = 4):
    records = desk.records
    return hold_range(records.database, namespace.id, work, desk.clock, LEASE_S, rows_min=at_least, rows_max=most)


def claimed(desk, namespace, work: str = "") -> list[Range]:
    with desk.records.database.read() as connection:
        return claimed_ranges(connection, namespace.id, desk.clock(), work)


def free(desk, namespace) -> tuple[int, int, int]:
    with desk.records.database.read() as connection:
        free = count_free(connection, namespace.id, 100, desk.clock())
    return free.most, free.first, free.oldest


def deaths(desk, namespace, work: str = "shard") -> int:
    with desk.records.database.read() as connection:
        return read_counter(connection, f"flush-{namespace.id}-{work}")


def kill(desk, namespace, *, most: int = 4) -> list[int]:
    """Claim rows as a process does that ends before it can give them back."""
    with hold(desk, namespace, most=most) as held, desk.records.database.read() as connection:
        until = connection.execute(select(leases.c.until).where(leases.c.name == held.name)).scalar_one()
    with desk.records.database.write() as connection:
        assert take_lease(connection, held.name, now=desk.clock(), lease_us=until - desk.clock())
    return list(held.rows)


def test_claims_share_a_backlog_from_its_oldest_rows(desk, notes):
    rows = embedded(desk, 10)

    with hold(desk, notes) as first, hold(desk, notes) as second, hold(desk, notes) as third:
        assert [first.rows, second.rows, third.rows] == [rows[:4], rows[4:8], rows[8:]]
        assert claimed(desk, notes) == [Range(each.rows[0], each.rows[-1]) for each in (first, second, third)]
        with hold(desk, notes) as none:
            assert none.rows == []
    assert claimed(desk, notes) == []
    with hold(desk, notes) as again:
        assert again.rows == rows[:4]


def test_only_embedded_bulk_rows_of_the_namespace_are_claimed(desk, notes):
    embedded(desk, 3, Lane.INTERACTIVE)
    desk.write("pending", lane=Lane.BULK)
    other = desk.namespace("other")
    desk.write("theirs", namespace="other", lane=Lane.BULK)

    with hold(desk, notes) as held:
        assert held.rows == []
    desk.embed(Lane.BULK)
    with hold(desk, notes) as held, hold(desk, other) as theirs:
        assert (len(held.rows), len(theirs.rows)) == (1, 1)


def test_too_few_rows_are_not_claimed(desk, notes):
    embedded(desk, 3)

    with hold(desk, notes, at_least=4) as held:
        assert (held.rows, claimed(desk, notes)) == ([], [])


def test_a_row_embedded_within_a_claimed_range_waits_for_its_end(desk, notes):
    desk.write(*"abcdef", lane=Lane.BULK)
    token, [late, stray] = desk.claim(2, Lane.BULK)
    others = desk.embed(Lane.BULK)
    desk.store(token, [late])

    with hold(desk, notes, most=3) as held:  # the late row and two of the others, the stray one between them
        assert held.rows == [late, *others[:2]]
        desk.store(token, [stray])
        with hold(desk, notes, most=3) as second:
            assert second.rows == others[2:]
        assert free(desk, notes) == (2, 2, others[2])
    assert free(desk, notes) == (6, 6, late)


def test_of_two_gaps_the_first_that_has_enough_is_taken(desk, notes):
    """However many lie in the other: what claims leave behind would wait as long as more arrive."""
    rows = embedded(desk, 9)
    with ExitStack() as first:
        first.enter_context(hold(desk, notes, most=2))
        with hold(desk, notes, most=2):
            first.close()
            # free now: the first two rows, and the last five
            assert free(desk, notes) == (5, 2, rows[0])
            with hold(desk, notes, most=4) as held:
                assert held.rows == rows[:2]
            with hold(desk, notes, at_least=3, most=4) as held:
                assert held.rows == rows[4:8]
            with hold(desk, notes, at_least=6, most=9) as held:
                assert held.rows == []


def test_what_is_claimed_does_not_count_as_waiting(desk, notes):
    rows = embedded(desk, 6)

    with hold(desk, notes), desk.records.database.read() as connection:
        [waiting] = waiting_namespaces(connection, desk.clock())

    assert (waiting.bulk, waiting.bulk_oldest) == (2, rows[4])


def test_a_claim_is_given_back_however_its_block_ends_and_that_is_no_death(desk, notes):
    embedded(desk, 2)

    with pytest.raises(KeyboardInterrupt), hold(desk, notes):
        raise KeyboardInterrupt

    desk.clock.advance(3_600)
    with hold(desk, notes) as held:
        assert (len(held.rows), held.deaths) == (2, 0)


def test_a_dead_worker_is_counted_and_followed_by_one_at_a_time(desk, notes):
    rows = embedded(desk, 8)
    assert kill(desk, notes) == rows[:4]
    desk.clock.advance(LEASE_S)

    with hold(desk, notes) as held:
        assert (held.rows, held.deaths) == (rows[:4], 1)
        with hold(desk, notes) as second:
            assert second is None  # whoever is careful is alone
        with hold(desk, notes, "all") as other_work:
            assert other_work.rows == rows[4:]
        held.deaths = 0
    assert deaths(desk, notes) == 0
    with hold(desk, notes) as first, hold(desk, notes) as second:
        assert [first.rows, second.rows] == [rows[:4], rows[4:]]


def test_claims_get_shorter_with_each_death(desk, notes):
    embedded(desk, 2)
    for count in range(3):
        kill(desk, notes)
        desk.clock.advance(LEASE_S / (1 + count) - 1)
        assert len(claimed(desk, notes)) == 1
        desk.clock.advance(1)
        assert claimed(desk, notes) == []
    with hold(desk, notes) as held:
        assert held.deaths == 3
    assert deaths(desk, notes) == 3  # nobody said otherwise


def test_a_paused_worker_has_no_say_once_its_claim_is_ended(desk, notes):
    embedded(desk, 2)
    with hold(desk, notes) as held:
        desk.clock.advance(LEASE_S)
        with desk.records.database.write() as connection:
            end_lost_claims(connection, notes.id, desk.clock())
        held.deaths = 7

    assert deaths(desk, notes) == 1


def test_deaths_of_one_namespace_are_not_anothers(desk):
    """Row ids begin alike: 1 and 10."""
    names = [desk.namespace(f"n{number}") for number in range(10)]
    desk.write("a", namespace="n9", lane=Lane.BULK)
    desk.embed(Lane.BULK)
    kill(desk, names[9])
    assert names[9].id == 10
    desk.clock.advance(LEASE_S)

    with desk.records.database.write() as connection:
        end_lost_claims(connection, names[0].id, desk.clock())

    assert deaths(desk, names[0]) == 0
    with hold(desk, names[9]) as held:
        assert held.deaths == 1


def test_many_workers_never_share_a_row(desk, open_desk, notes):
    rows = embedded(desk, 40)
    desks = [desk, open_desk(), open_desk(), open_desk()]
    start = threading.Barrier(len(desks))
    blocks: list[list[int]] = []

    def work(each) -> None:
        start.wait()
        with ExitStack() as stack:
            for _ in range(3):
                held = stack.enter_context(hold(each, notes, most=5))
                blocks.append(list(held.rows))
            start.wait()

    with ThreadPoolExecutor(len(desks)) as pool:
        list(pool.map(work, desks))

    assert sorted(row for block in blocks for row in block) == rows

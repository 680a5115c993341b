"""Named leases: one holder at a time, whoever sleeps past the deadline has lost."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select

from core.records import leases, tables
from core.records.counters import read_counter, set_counter
from core.records.leases import Held, drop_lease, hold_lease, renewing, take_lease
from tests.integration.processes import eventually


def take(desk, name: str = "compact-1", lease_s: float = 60) -> str | None:
    with desk.records.database.write() as connection:
        return take_lease(connection, name, now=desk.clock(), lease_us=int(lease_s * 1e6))


def drop(desk, token: str, name: str = "compact-1") -> None:
    with desk.records.database.write() as connection:
        drop_lease(connection, name, token)


def until(desk, name: str = "compact-1") -> int | None:
    with desk.records.database.read() as connection:
        return connection.execute(select(tables.leases.c.until).where(tables.leases.c.name == name)).scalar()


def test_a_lease_has_one_holder(desk):
    assert take(desk) is not None
    assert take(desk) is None
    assert take(desk, "compact-2") is not None


def test_a_lease_given_back_can_be_taken(desk):
    drop(desk, take(desk))

    assert take(desk) is not None


def test_a_lease_that_ran_out_can_be_taken(desk):
    take(desk, lease_s=60)
    desk.clock.advance(59)
    assert take(desk) is None
    desk.clock.advance(1)
    assert take(desk) is not None


def test_the_former_holder_cannot_drop_its_successors_lease(desk):
    slow = take(desk, lease_s=60)
    desk.clock.advance(61)
    take(desk, lease_s=60)

    drop(desk, slow)

    assert take(desk) is None


def test_many_threads_one_holder(desk, open_desk):
    desks = [desk, open_desk(), open_desk(), open_desk()]
    for round_ in range(5):
        start = threading.Barrier(len(desks))

        def race(each, start=start, name=f"round-{round_}"):
            start.wait()
            return take(each, name)

        with ThreadPoolExecutor(len(desks)) as pool:
            tokens = list(pool.map(race, desks))
        assert sum(token is not None for token in tokens) == 1


# --- held for a block ---------------------------------------------------------------------------------


def hold(desk, tries: str = ""):
    return hold_lease(desk.records.database, "compact-1", desk.clock, 60, tries)


def tried(desk) -> int:
    with desk.records.database.read() as connection:
        return read_counter(connection, "tries")


def test_a_lease_is_held_for_a_block_and_given_back_however_it_ends(desk):
    with hold(desk) as held:
        assert held is not None
        assert take(desk) is None
        with hold(desk) as second:
            assert second is None
    with pytest.raises(KeyboardInterrupt), hold(desk):
        raise KeyboardInterrupt
    assert take(desk) is not None


def test_deaths_that_somebody_else_counts_shorten_a_lease_down_to_a_bound(desk):
    for deaths, lease_s in ((1, 30), (3, 15), (100, 10)):
        with desk.records.database.write() as connection:
            set_counter(connection, "theirs", deaths)
        with hold_lease(desk.records.database, "compact-1", desk.clock, 60, shortened_by="theirs"):
            assert until(desk) == desk.clock() + lease_s * 1_000_000
        with desk.records.database.read() as connection:
            assert read_counter(connection, "theirs") == deaths


def test_a_lease_is_renewed_while_its_holder_runs(desk):
    with hold_lease(desk.records.database, "compact-1", desk.clock, 0.3) as held:
        for _ in range(10):  # three times as long as the lease
            desk.clock.advance(0.1)
            eventually(lambda: until(desk) == desk.clock() + 300_000)
        assert held is not None
        assert take(desk) is None
    assert until(desk) is None


def test_a_lease_that_was_taken_over_is_not_renewed(desk):
    take(desk)
    before = until(desk)
    desk.clock.advance(1)

    with renewing(desk.records.database, desk.clock, Held("compact-1", "lost", 0), 30_000):
        time.sleep(0.2)  # many times as long as until it would be renewed

    assert until(desk) == before


def test_a_lease_is_not_renewed_without_end(desk, monkeypatch):
    """A block that hangs must not hold everybody up for ever."""
    monkeypatch.setattr(leases, "_HELD_US_MAX", 60_000)
    with hold_lease(desk.records.database, "compact-1", desk.clock, 0.03):
        eventually(lambda: not [thread for thread in threading.enumerate() if thread.name == "renew compact-1"])
        desk.clock.advance(1)
        assert take(desk) is not None


def test_tries_that_never_ended_are_counted_and_shorten_the_lease(desk):
    killed = []
    for deaths in range(3):
        killed.append(hold(desk, "tries"))
        held = killed[-1].__enter__()  # and never leaves
        assert held.deaths == deaths
        desk.clock.advance(60 / (1 + deaths) - 1)
        assert take(desk) is None
        desk.clock.advance(1)
    with pytest.raises(ValueError, match="a fault"), hold(desk, "tries") as held:
        raise ValueError("a fault is no death")
    assert tried(desk) == 3

    with hold(desk, "tries") as held:
        held.deaths = 0
    assert tried(desk) == 0
    for block in killed:
        block.__exit__(None, None, None)  # those that were only paused wake up, and have no say
    assert tried(desk) == 0

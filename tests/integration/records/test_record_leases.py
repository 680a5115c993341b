"""Named leases: one holder at a time, whoever sleeps past the deadline has lost."""

import threading
from concurrent.futures import ThreadPoolExecutor

from core.records.leases import drop_lease, take_lease


def take(desk, name: str = "compact-1", lease_s: float = 60) -> str | None:
    with desk.records.database.write() as connection:
        return take_lease(connection, name, now=desk.clock(), lease_us=int(lease_s * 1e6))


def drop(desk, token: str, name: str = "compact-1") -> None:
    with desk.records.database.write() as connection:
        drop_lease(connection, name, token)


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

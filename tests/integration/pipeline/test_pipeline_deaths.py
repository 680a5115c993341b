"""A row that kills its worker whenever it is flushed: the process is gone before anything can be caught."""

import pytest

from core.pipeline import building
from core.records.counters import set_counter
from core.records.leases import take_lease
from core.records.tables import Lane, counters, leases
from tests.stores import BOTH

RECORD_STORES = BOTH

LEASE_S = 60
ATTEMPTS = 5  # the default of [queue] attempts_max


class Killed(BaseException):
    """The process ended here; what it would still have written is taken back by the test."""


def note(number: int) -> dict[str, object]:
    return {"id": f"n{number}", "content": f"Note {number} about the harbour."}


def outcome(server, accepted) -> tuple[str, int, list[tuple[str, int]]]:
    job = server.job(accepted)
    return job.state, job.indexed, [(error["code"], error["memories"]) for error in job.errors]


def notes(server) -> dict[str, int]:
    with server.records.database.read() as connection:
        found = connection.execute(counters.select().where(counters.c.name.startswith("flush-")))
        return {row.name: row.value for row in found}


def held(server) -> list[str]:
    with server.records.database.read() as connection:
        return list(connection.execute(leases.select().where(leases.c.name.startswith("flush-"))).scalars())


@pytest.fixture
def deadly(server, monkeypatch):
    """Make some rows kill the worker; work until nothing waits, and return how many rows each try was of."""
    real, tries = building.build_shard, []

    def install(kills, deaths_max=100) -> list[int]:
        before: dict[str, int] = {}
        left: list[str] = []

        def build_or_die(folder, rows, *more):
            tries.append(len(rows))
            if kills({row.attributes.id for row in rows}):
                before.clear()
                before.update(notes(server))
                left[:] = held(server)
                raise Killed
            return real(folder, rows, *more)

        monkeypatch.setattr(building, "build_shard", build_or_die)
        for _ in range(deaths_max):
            try:
                server.index()
            except Killed:
                with server.records.database.write() as connection:  # as if the process had ended there
                    for counter in notes(server).keys() | before.keys():
                        set_counter(connection, counter, before.get(counter, 0))
                    for name in left:
                        assert take_lease(connection, name, now=server.clock(), lease_us=LEASE_S * 1_000_000)
                server.clock.advance(LEASE_S)
            else:
                return tries
        raise AssertionError(tries)

    return install


def rows_of(server, *numbers: int) -> set[int]:
    return {server.row_ids(f"n{number}")[0] for number in numbers}


def test_a_death_or_two_change_nothing_but_the_time(server, deadly):
    server.write(note(0))
    server.settle()
    accepted = server.write(*map(note, range(1, 9)))
    server.embed()
    left = [True, True]

    tries = deadly(lambda _: bool(left and left.pop()))

    assert tries == [9, 9, 2, 1, 1, 1, 1, 1, 1]  # two deaths, then carefully, apart from the tail
    assert server.job(accepted).state == "indexed"
    server.check()
    assert notes(server) == {}
    server.write(note(9))
    server.settle()
    assert [shard.rows for shard in server.shards()] == [10]  # one tail again


@pytest.mark.parametrize("bad", [0, 3, 5])
def test_a_row_that_kills_its_worker_again_and_again_fails_alone(server, deadly, bad):
    accepted = server.write(*map(note, range(6)))
    server.embed()
    culprit = rows_of(server, bad)

    tries = deadly(lambda rows: bool(culprit & rows))

    assert outcome(server, accepted) == ("failed", 5, [("indexing_failed", 1)])
    assert sum(size == 1 for size in tries) >= ATTEMPTS - 2
    assert len([size for size in tries if size == 6]) == 2
    assert sorted(server.ids("note", mode="vector")) == [f"n{n}" for n in range(6) if n != bad]
    assert notes(server) == {}
    server.check()


def test_a_lone_row_is_failed_after_as_many_deaths_as_attempts(server, deadly):
    accepted = server.write(note(0))
    server.embed()

    assert deadly(lambda _: True) == [1] * ATTEMPTS
    assert outcome(server, accepted) == ("failed", 0, [("indexing_failed", 1)])


def test_one_row_in_a_long_backlog_is_found_in_few_deaths(server, deadly):
    accepted = server.write(*map(note, range(300)))
    server.embed()
    culprit = rows_of(server, 200)
    deaths = []

    deadly(lambda rows: bool(culprit & rows) and not deaths.append(len(rows)))

    assert outcome(server, accepted) == ("failed", 299, [("indexing_failed", 1)])
    assert len(deaths) <= 2 + 5 + ATTEMPTS - 2
    server.check()


def test_several_rows_are_found_one_after_the_other(server, deadly):
    accepted = server.write(*map(note, range(20)))
    server.embed()
    culprits = rows_of(server, 2, 3, 17)

    deadly(lambda rows: bool(culprits & rows))

    assert outcome(server, accepted) == ("failed", 17, [("indexing_failed", 3)])
    server.check()


def test_a_tail_that_kills_is_not_blamed_on_fresh_rows(server, deadly):
    """As after an upgrade of a library: the rows of the tail were indexed before."""
    server.write(note(0))
    server.settle()
    accepted = server.write(*map(note, range(1, 9)))
    server.embed()
    tail = rows_of(server, 0)

    deadly(lambda rows: bool(tail & rows))

    assert outcome(server, accepted) == ("indexed", 8, [])


def test_kills_at_random_fail_nobody(server, deadly, rng):
    accepted = server.write(*map(note, range(40)))
    server.embed()

    deadly(lambda _: rng.random() < 0.4)

    assert outcome(server, accepted) == ("indexed", 40, [])
    server.check()


def test_faults_of_ours_are_no_deaths(server, monkeypatch, deadly):
    accepted = server.write(*map(note, range(3)))
    server.embed()
    with monkeypatch.context() as broken:
        broken.setattr(building, "build_shard", fail)
        for _ in range(3 * ATTEMPTS):
            server.index()
            server.clock.advance(300)
        assert notes(server) == {}
    left = [True] * (ATTEMPTS - 1)
    deadly(lambda _: bool(left and left.pop()), deaths_max=ATTEMPTS)
    server.write(note(7))
    server.embed()
    with monkeypatch.context() as broken:
        broken.setattr(building, "build_shard", fail)
        for _ in range(3 * ATTEMPTS):
            server.index()
            server.clock.advance(300)
    server.index()

    assert outcome(server, accepted) == ("indexed", 3, [])
    assert server.states()["failed"] == 0


def fail(*_):
    raise OSError(5, "the disk fails")


@pytest.mark.usefixtures("small_tiers")
def test_deaths_over_bulk_rows_do_not_hold_up_interactive_ones(server, deadly):
    bulk = server.write(*map(note, range(40)), lane=Lane.BULK)
    server.embed()
    culprit = rows_of(server, 9)
    singles = []

    def kills(rows):
        if culprit & rows and len(singles) < 3:
            singles.append(server.write(note(100 + len(singles))))
            server.embed()
        return bool(culprit & rows)

    deadly(kills)

    assert outcome(server, bulk) == ("failed", 39, [("indexing_failed", 1)])
    assert [outcome(server, single) for single in singles] == [("indexed", 1, [])] * 3


@pytest.mark.usefixtures("small_tiers")
@pytest.mark.parametrize("rows", [5, 70])
def test_one_row_of_a_backfill_is_found(server, deadly, rows):
    bulk = server.write(*map(note, range(rows)), lane=Lane.BULK)
    server.embed()
    culprit = rows_of(server, 3)

    deadly(lambda among: bool(culprit & among))

    assert outcome(server, bulk) == ("failed", rows - 1, [("indexing_failed", 1)])
    assert notes(server) == {}
    assert held(server) == []
    server.check()

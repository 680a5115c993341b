"""A freeze stands in the database: every write transaction meets it, whoever makes it."""

import sqlite3
import threading

import pytest
from sqlalchemy import insert, select

from core.errors import Frozen
from core.records.engine import Database
from core.records.frozen import Freeze, Phase, read_freeze
from core.records.sqlite import open_sqlite
from core.records.tables import companies, counters, leases, store

SECOND = 1_000_000
DRAINING = Freeze(Phase.DRAINING)
FROZEN = Freeze(Phase.FROZEN)


class Clock:
    now = 1_700_000_000 * SECOND

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture(params=["control", "company"])
def database(request, tmp_path, clock):
    opened = open_sqlite(tmp_path / "records.db", request.param, clock)
    with opened.write() as connection:
        if request.param == "control":
            connection.execute(insert(store).values(id="store_a", master_key_id="a", created_at=0))
        else:
            connection.execute(insert(counters).values(name="ids", value=7))
    yield opened
    opened.close()


def put(database: Database, name: str, *, finishing: bool = False) -> None:
    with database.write(finishing=finishing) as connection:
        if database.kind == "control":
            connection.execute(insert(companies).values(id=name, handle=name.encode(), sealed_name=b"", created_at=0))
        else:
            connection.execute(insert(leases).values(name=name, token="t", until=0))


def held(database: Database) -> set[str]:
    column = companies.c.id if database.kind == "control" else leases.c.name
    with database.read() as connection:
        return set(connection.execute(select(column)).scalars())


def test_an_open_database_takes_every_write(database):
    put(database, "one")
    put(database, "two", finishing=True)
    assert held(database) == {"one", "two"}
    assert not database.frozen


def test_while_it_drains_only_what_was_begun_may_end(database):
    database.set_freeze(DRAINING)
    with pytest.raises(Frozen):
        put(database, "new")
    put(database, "old", finishing=True)
    assert held(database) == {"old"}
    assert database.frozen


def test_while_it_is_frozen_nothing_is_written_and_everything_is_read(database):
    put(database, "before")
    database.set_freeze(FROZEN)
    for finishing in (False, True):
        with pytest.raises(Frozen) as refused:
            put(database, "late", finishing=finishing)
        assert (refused.value.reason, refused.value.retry_after_s) == ("frozen", 30.0)
    assert held(database) == {"before"}


def test_ending_it_leaves_nothing_behind(database, clock):
    before = database_rows(database)
    database.set_freeze(Freeze(Phase.FROZEN, clock.now + SECOND))
    database.set_freeze(Freeze())
    assert database_rows(database) == before
    put(database, "after")


def test_it_says_when_to_come_back(database, clock):
    database.set_freeze(Freeze(Phase.FROZEN, clock.now + 12 * SECOND))
    with pytest.raises(Frozen) as refused:
        put(database, "late")
    assert refused.value.retry_after_s == 12.0


def test_past_its_time_it_is_over_and_the_next_writer_clears_it_away(database, clock):
    before = database_rows(database)
    database.set_freeze(Freeze(Phase.FROZEN, clock.now + SECOND))
    clock.now += SECOND - 1
    assert database.frozen
    clock.now += 1
    assert not database.frozen
    assert database_rows(database) != before
    put(database, "after")
    assert database_rows(database) == before


def test_it_survives_the_process(database, tmp_path, clock):
    database.set_freeze(FROZEN)
    again = open_sqlite(tmp_path / "records.db", database.kind, clock)
    with pytest.raises(Frozen):
        put(again, "late")
    again.set_freeze(Freeze())
    put(database, "after")
    again.close()


def test_it_waits_for_the_transaction_that_is_under_way(database):
    """What was being written when it came is there; what comes after is not."""
    inside, froze = threading.Event(), threading.Event()

    def freeze() -> None:
        inside.wait()
        database.set_freeze(FROZEN)
        froze.set()

    thread = threading.Thread(target=freeze)
    thread.start()
    with database.write() as connection:
        inside.set()
        assert not froze.wait(0.2)
        connection.execute(insert(counters if database.kind == "company" else companies), [row(database)])
    thread.join()
    with pytest.raises(Frozen):
        put(database, "late")
    with database.read() as connection:
        assert read_freeze(connection, database.kind) == FROZEN


def row(database: Database) -> dict[str, object]:
    if database.kind == "company":
        return {"name": "under way", "value": 1}
    return {"id": "co", "handle": b"h", "sealed_name": b"", "created_at": 0}


def test_settled_the_file_alone_is_the_whole_database(database, tmp_path):
    put(database, "one")
    put(database, "two")
    assert (tmp_path / "records.db-wal").stat().st_size > 0
    database.settle()
    assert (tmp_path / "records.db-wal").stat().st_size == 0
    alone = tmp_path / "alone.db"
    alone.write_bytes((tmp_path / "records.db").read_bytes())
    copy = sqlite3.connect(alone)
    column, table = ("id", "companies") if database.kind == "control" else ("name", "leases")
    assert {name for (name,) in copy.execute(f"SELECT {column} FROM {table}")} == {"one", "two"}
    copy.close()


def database_rows(database: Database) -> list[tuple[object, ...]]:
    table = store if database.kind == "control" else counters
    with database.read() as connection:
        return [tuple(each) for each in connection.execute(select(table))]

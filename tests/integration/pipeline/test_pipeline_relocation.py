"""A store moved from SQLite files to PostgreSQL: the same answers there, nothing lost on the way, the files as were."""

import os
from contextlib import closing, contextmanager
from itertools import count
from typing import Any

import pytest
from sqlalchemy import func, select, update

from core.clock import now_us
from core.errors import ConfigurationError, Conflict, Frozen, IntegrityError, Unavailable
from core.pipeline.freezing import freeze, unfreeze
from core.pipeline.relocation import relocate
from core.records import tablecopy
from core.records.control import open_control
from core.records.places import open_place
from core.records.postgres import PostgresDatabase
from core.records.tables import company_keys, jobs, memories, shards
from tests.integration.moves import check_equal, settings_for
from tests.integration.pipeline.notes import NOTES, answers


@pytest.fixture
def postgres_settings(tmp_path, postgres_url):
    """The data directory of the other tests, its record store in PostgreSQL."""
    return settings_for(tmp_path, postgres_url)


@pytest.fixture
def place(postgres_settings):
    with closing(open_place(postgres_settings.storage, os.environ)) as opened:
        yield opened


@pytest.fixture
def server(open_server, clock):
    """The test's clock says what that of the control store does, which nobody moves."""
    opened = open_server()
    clock.now = now_us()
    return opened


@pytest.fixture
def filled(server):
    server.write(*NOTES)
    server.settle()
    server.write({"id": "tea", "content": "Bo drinks black tea now."}, {"content": "Nobody asked for this."})
    server.settle()
    server.write({"id": "gone", "content": "Bo is allergic to peanuts."})
    server.settle()
    server.delete("gone")
    server.write({"content": "A lighthouse stands elsewhere."}, namespace="other")
    server.runtime.control.create_company("acme")
    return server


class Died(BaseException):
    """What kill -9 is, where the process has to go on."""


@contextmanager
def dying_after(transactions: int):
    """Let this process die at the end of one of its transactions on PostgreSQL, before it is committed."""
    write, left = PostgresDatabase.write, count(transactions, -1)

    @contextmanager
    def mortal(database: PostgresDatabase, **options: Any):
        with write(database, **options) as connection:
            yield connection
            if next(left) == 0:
                raise Died

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PostgresDatabase, "write", mortal)
        yield


def test_a_moved_store_answers_as_before_and_goes_on(filled, place, open_server, postgres_settings):
    before, states = answers(filled), filled.states()
    told: list[tuple[int, int]] = []
    relocate(filled.runtime.control, place, lambda *rows: told.append(rows))
    assert told[-1][0] == told[-1][1] > len(NOTES)
    check_equal(filled.runtime.control, place)
    filled.close()
    moved = open_server(postgres_settings)
    assert answers(moved) == before
    assert moved.states() == states
    with moved.records.database.read() as connection:
        last = connection.execute(select(func.max(memories.c.id))).scalar_one()
    moved.write({"id": "new", "content": "After the move came a tram."})
    moved.settle()
    moved.maintain()
    assert moved.ids("tram", mode="text") == ["new"]
    assert moved.row_ids("new")[0] > last
    assert moved.ids("lighthouse", namespace="other") != []
    moved.check()
    moved.close()


def test_the_files_take_no_writes_until_they_are_unfrozen(filled, place, open_server, server_settings):
    before = answers(filled)
    relocate(filled.runtime.control, place)
    filled.close()
    again = open_server(server_settings)
    with pytest.raises(Frozen):
        again.write("Too late.")
    assert answers(again) == before
    unfreeze(again.runtime.control)
    again.write({"id": "back", "content": "Back to the files."})
    again.settle()
    assert "back" in again.ids("files")


def test_whoever_dies_is_followed(filled, place, monkeypatch):
    """At one transaction after another: the next one begins where that was."""
    monkeypatch.setattr(tablecopy, "_BATCH_ROWS", 3)
    for deaths in count(0, 4):
        try:
            with dying_after(deaths):
                relocate(filled.runtime.control, place)
        except Died:
            assert deaths < 1_000
        else:
            break
    assert deaths > 30
    check_equal(filled.runtime.control, place)


def test_no_server_opens_a_part_of_a_store(filled, place, postgres_settings):
    for deaths in (5, 15):
        with dying_after(deaths), pytest.raises(Died):
            relocate(filled.runtime.control, place)
        with pytest.raises(ConfigurationError, match="a part of a store: repeat"):
            open_control(postgres_settings)
    relocate(filled.runtime.control, place)
    open_control(postgres_settings).close()


def test_what_was_begun_from_another_state_is_thrown_away(filled, place):
    control = filled.runtime.control
    with dying_after(20), pytest.raises(Died):
        relocate(control, place)
    unfreeze(control)
    filled.clock.advance(1)
    filled.write({"id": "later", "content": "Written between two tries."})
    filled.delete("cat")
    filled.settle()
    relocate(control, place)
    check_equal(control, place)


def test_another_store_is_left_alone(filled, place, postgres_settings):
    with closing(open_control(postgres_settings.model_copy(update={"storage": elsewhere(postgres_settings)}))) as other:
        theirs = other.company_ids()
        with pytest.raises(Conflict, match="another store"):
            relocate(filled.runtime.control, place)
        assert other.company_ids() == theirs
    assert not filled.records.database.frozen


def elsewhere(settings):
    return settings.storage.model_copy(update={"path": settings.storage.path.with_name("elsewhere")})


def test_a_part_of_another_store_is_left_alone(filled, place, tmp_path, server_settings):
    storage = {"storage": server_settings.storage.model_copy(update={"path": tmp_path / "elsewhere"})}
    with closing(open_control(server_settings.model_copy(update=storage))) as other:
        with dying_after(3), pytest.raises(Died):
            relocate(other, place)
        with pytest.raises(Conflict, match="a part of one"):
            relocate(filled.runtime.control, place)
        relocate(other, place)
        check_equal(other, place)


def test_a_store_is_moved_once(filled, place):
    relocate(filled.runtime.control, place)
    with pytest.raises(Conflict, match="holds this store already"):
        relocate(filled.runtime.control, place)
    check_equal(filled.runtime.control, place)


def test_a_freeze_that_ends_by_itself_is_not_enough(filled, place):
    freeze(filled.runtime.control, limit_s=3_600)
    with pytest.raises(Conflict, match="limited time"):
        relocate(filled.runtime.control, place)
    assert place.companies() == filled.runtime.control.place.companies()  # the folders beside it


def test_one_process_moves_a_store_at_a_time(filled, place):
    with filled.runtime.control.place.alone("move"), pytest.raises(Unavailable):
        relocate(filled.runtime.control, place)
    assert not filled.records.database.frozen


def test_a_key_that_does_not_open_stops_it_before_it_begins(filled, place):
    control = filled.runtime.control
    with control.database.write() as connection:
        connection.execute(update(company_keys).values(wrapped=b"\0" * 100))
    with pytest.raises(IntegrityError):
        relocate(control, place)
    assert not filled.records.database.frozen


def test_a_ledger_that_does_not_balance_is_not_published(filled, place, postgres_settings):
    with filled.records.database.write() as connection:
        connection.execute(
            update(jobs).where(jobs.c.id == select(func.min(jobs.c.id)).scalar_subquery()).values(accepted=99)
        )
    with pytest.raises(IntegrityError, match="does not balance"):
        relocate(filled.runtime.control, place)
    with pytest.raises(ConfigurationError, match="a part of a store"):
        open_control(postgres_settings)


def test_a_row_that_changed_on_the_way_is_not_published(filled, place, postgres_settings, monkeypatch):
    """Nobody else writes there; if somebody does, it is noticed."""
    copy = tablecopy.copy_table

    def copy_and_tamper(source, begin, table, on_copied) -> None:
        copy(source, begin, table, on_copied)
        if table is shards:
            with begin() as connection:
                connection.execute(update(shards).values(members=b"changed"))

    monkeypatch.setattr("core.records.moving.copy_table", copy_and_tamper)
    with pytest.raises(IntegrityError, match="table shards"):
        relocate(filled.runtime.control, place)
    with pytest.raises(ConfigurationError, match="a part of a store"):
        open_control(postgres_settings)

"""``ostraka migrate-store`` as an operator runs it: killed, repeated, refused."""

from contextlib import closing

import pytest

from cli.moving import migrate_store
from core.audit.verification import verify_log
from core.errors import ConfigurationError, IntegrityError, OstrakaError
from core.pipeline.freezing import unfreeze
from core.records.control import open_control
from tests.backups import records_of, remember
from tests.integration.moves import Move, check_equal, rows_there, settings_for
from tests.integration.processes import run_command

ROWS = 5_000


@pytest.fixture
def control(tmp_path):
    with closing(open_control(settings_for(tmp_path))) as opened:
        yield opened


def test_a_killed_move_is_ended_by_the_next(control, postgres_url, tmp_path, rng):
    records = records_of(control)
    for first in range(0, ROWS, 1_000):
        remember(records, "notes", *(f"memory {number}" for number in range(first, first + 1_000)))
    before = 0
    for rows in (rng.randrange(1, 1_000), rng.randrange(1_000, 3_000)):
        move = Move(tmp_path, postgres_url).spawn()
        move.reach(records.company, rows)
        move.kill()
        there = rows_there(postgres_url, records.company)
        assert rows <= there < ROWS
        assert there >= before
        before = there
        with pytest.raises(ConfigurationError, match="a part of a store"):
            open_control(settings_for(tmp_path, postgres_url))
        assert control.database.frozen
    status, said, erred = run_command(tmp_path, "migrate-store", "--to", postgres_url)
    assert status == 0, erred
    assert "Set [storage] database_url" in said
    with closing(open_control(settings_for(tmp_path, postgres_url))) as moved:
        assert check_equal(control, moved.place, ["company"]) > ROWS
        assert verify_log(moved.audit).holds
        assert {entry.event.action for entry in moved.audit.page(limit=10).entries} == {"store.migrate"}
        remember(records_of(moved), "notes", "written after the move")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda _: None, "name --to postgresql://"),
        (lambda _: "mysql://somewhere/else", "no address of PostgreSQL"),
        (lambda url: url.replace("postgres@", "postgres:hidden@"), "PGPASSWORD"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_frozen(control, postgres_url, change, reason):
    with pytest.raises(OstrakaError, match=reason) as raised:
        migrate_store(change(postgres_url), None, control.root)
    assert "hidden" not in raised.value.message
    assert not control.database.frozen


def test_a_directory_without_a_store_gets_none(tmp_path, postgres_url):
    with pytest.raises(ConfigurationError, match="holds no record store"):
        migrate_store(postgres_url, None, tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_a_move_that_fails_says_that_the_files_are_frozen(control, postgres_url, capsys):
    remember(records_of(control), "notes", "one")
    with records_of(control).database.write() as connection:
        connection.exec_driver_sql("UPDATE jobs SET accepted = 2")
    with pytest.raises(IntegrityError, match="does not balance"):
        migrate_store(postgres_url, None, control.root)
    assert "is frozen: repeat this, or take writes again" in capsys.readouterr().err
    unfreeze(control)
    remember(records_of(control), "notes", "two")

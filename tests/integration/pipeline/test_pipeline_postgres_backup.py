"""Backups of a store in PostgreSQL, and restores into one: one format, whatever the record store lies in."""

import os
from contextlib import closing

import pytest
from sqlalchemy import select, update

from cli import doctor
from core.backup.restoring import restore_directory, verify
from core.backup.rewriting import rewrite, unpacked
from core.errors import Conflict, IntegrityError
from core.pipeline.diagnosis import Verdict
from core.records.control import open_control
from core.records.places import open_place
from core.records.tables import counters, leases
from core.settings import load_settings
from tests.backups import back_up, files_below, opened, records_of, remember
from tests.integration.moves import settings_for
from tests.integration.pipeline.notes import NOTES, QUERIES, answers


@pytest.fixture
def server_settings(bare_settings):
    """The store comes from elsewhere."""
    return bare_settings


@pytest.fixture
def postgres_settings(tmp_path, postgres_url):
    """The data directory of the other tests, its record store in PostgreSQL."""
    return settings_for(tmp_path, postgres_url)


def fill(server):
    server.write(*NOTES)
    server.settle()
    server.write({"id": "tea", "content": "Bo drinks black tea now."}, {"content": "Nobody asked for this."})
    server.settle()
    server.delete("soon")
    server.write({"id": "late", "content": "Written, and not yet embedded: the ferry is late."})
    return server


@pytest.fixture
def in_postgres(postgres_settings, open_server):
    server = fill(open_server(postgres_settings))
    yield server
    server.close()


@pytest.fixture
def place(postgres_url, tmp_path):
    """An empty PostgreSQL database, for a data directory that is not there yet."""
    with closing(open_place(restored_settings(tmp_path, postgres_url).storage, os.environ)) as empty:
        yield empty


def restored_settings(tmp_path, url=""):
    return load_settings(None, {"storage": {"path": tmp_path / "restored", "database_url": url}})


def check_restored(copy, original) -> None:
    assert answers(copy) == answers(original)
    assert copy.states() == original.states()
    copy.settle()
    copy.write({"id": "more", "content": "After the restore came a tram."})
    copy.settle()
    copy.maintain()
    assert copy.ids("ferry")[0] == "late"
    assert copy.ids("tram", mode="text") == ["more"]
    copy.check()


def test_a_backup_of_postgresql_restores_to_files(in_postgres, open_server, tmp_path):
    control = in_postgres.runtime.control
    backup = back_up(control)
    verify(opened(backup, control.master))
    restore_directory(opened(backup, control.master), tmp_path / "restored")
    check_restored(open_server(restored_settings(tmp_path)), in_postgres)


def test_a_backup_of_files_restores_to_postgresql(open_server, place, postgres_url, tmp_path):
    server = fill(open_server())
    control = server.runtime.control
    restore_directory(opened(back_up(control), control.master), tmp_path / "restored", place)
    assert {name for name in files_below(tmp_path / "restored") if not name.endswith(".shard")} == set()
    copy = open_server(restored_settings(tmp_path, postgres_url))
    with copy.records.database.read() as connection:
        assert connection.execute(select(leases)).all() == []
    check_restored(copy, server)
    copy.close()


@pytest.mark.parametrize("into", ["files", "postgresql"])
def test_a_backup_of_one_company_has_nothing_of_the_others(in_postgres, postgres, tmp_path, into):
    control = in_postgres.runtime.control
    acme = control.create_company("acme")
    remember(records_of(control, "acme"), "notes", "one", "two")
    settings = restored_settings(tmp_path, postgres.new_database() if into == "postgresql" else "")
    with closing(open_place(settings.storage, os.environ)) as place:
        backup = opened(back_up(control, acme.id), control.master)
        restore_directory(backup, settings.storage.path, place if into == "postgresql" else None)
    with closing(open_control(settings)) as copy:
        assert [company.name for company in copy.companies()] == ["acme"]
        assert copy.audit.page(limit=10).entries == []
        remember(records_of(copy, "acme"), "notes", "three")


def test_a_place_that_holds_a_store_is_not_restored_into(in_postgres, postgres_url, tmp_path):
    control = in_postgres.runtime.control
    backup = back_up(control)
    storage = restored_settings(tmp_path, postgres_url).storage
    with closing(open_place(storage, os.environ)) as place, pytest.raises(Conflict, match="holds this store already"):
        restore_directory(opened(backup, control.master), tmp_path / "restored", place)
    assert not (tmp_path / "restored").exists()
    assert in_postgres.ids("tea")[0] == "tea"


def test_a_restore_that_was_cut_off_is_repeated(control, place, postgres_url, tmp_path, monkeypatch):
    remember(records_of(control), "notes", "one", "two")
    backup = back_up(control)

    class Died(BaseException):
        pass

    def die(*_: object) -> None:
        raise Died

    with monkeypatch.context() as patch:
        patch.setattr("core.backup.restoring.publish", die)
        with pytest.raises(Died):
            restore_directory(opened(backup, control.master), tmp_path / "first", place)
    restore_directory(opened(backup, control.master), tmp_path / "second", place)
    with closing(
        open_control(load_settings(None, {"storage": {"path": tmp_path / "second", "database_url": postgres_url}}))
    ) as copy:
        assert copy.company_ids() == control.company_ids()
        assert len(records_of(copy).namespaces()) == 1


def test_memories_are_restored_into_a_server_that_uses_it(in_postgres):
    control = in_postgres.runtime.control
    reader = opened(back_up(control), control.master)
    with unpacked(reader, control) as saved:
        done = rewrite(
            records_of(saved),
            records_of(control),
            {"notes": "copy"},
            backup=reader.header.backup,
            fingerprint=in_postgres.runtime.embedder.fingerprint,
            on_written=lambda _: None,
        )
    assert done.memories == len(NOTES) + 1
    in_postgres.settle()
    for query in QUERIES:
        assert in_postgres.ids(query, namespace="copy")[0] == in_postgres.ids(query)[0]


def test_the_doctor_finds_it_well(in_postgres, postgres_settings, monkeypatch):
    in_postgres.settle()
    in_postgres.close()
    monkeypatch.setenv("OSTRAKA_STORAGE__DATABASE_URL", postgres_settings.storage.database_url)
    found = {finding.check: finding for _, finding in doctor._examine(None, postgres_settings.storage.path, {})}
    assert [finding for finding in found.values() if finding.verdict is Verdict.FAILED] == []
    assert "each accounted for" in found["ledger"].detail


def test_what_was_put_back_is_refused(in_postgres, postgres_settings):
    company = in_postgres.company
    in_postgres.close()
    with closing(open_control(postgres_settings)) as control:
        database = control.place.open("company", control.clock, company)
        with database.write() as connection:
            connection.execute(update(counters).where(counters.c.name == "ids").values(value=1))
        with pytest.raises(IntegrityError) as refused:
            control.records(company)
        assert refused.value.reason == "rolled_back"
        control.accept_rollback(company)
        control.records(company)

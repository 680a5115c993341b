"""The life of a company in the control store: terms, suspension, the end of its key."""

import sqlite3

import pytest
from sqlalchemy import update

from core.errors import Conflict, IntegrityError, NotFound, Unauthenticated
from core.records import control as opening
from core.records.apikeys import create_key, has_keys
from core.records.companies import DEFAULT_COMPANY
from core.records.control import ControlStore, open_control
from core.records.credentials import read_credentials
from core.records.erasure import settle_erased
from core.records.lifecycle import change_terms, destroy_company
from core.records.tables import companies, company_keys, store
from core.records.terms import NO_BOUNDS, Terms
from core.records.workplace import workplace


@pytest.fixture
def acme(control: ControlStore) -> str:
    return control.create_company("acme", Terms(memories_max=5)).id


def put_terms(control: ControlStore, company: str, sealed: bytes | None) -> None:
    with control.database.write() as connection:
        connection.execute(update(companies).where(companies.c.id == company).values(sealed_terms=sealed))


def sealed_terms(control: ControlStore, company: str) -> bytes:
    with control.database.read() as connection:
        return connection.execute(companies.select().where(companies.c.id == company)).one().sealed_terms


def erased_at(control: ControlStore) -> int | None:
    with control.database.read() as connection:
        return connection.execute(store.select()).one().keys_erased_at


def test_terms_change_one_by_one(control, acme):
    assert change_terms(control, acme, suspended=True, bytes_max=9) == Terms(
        suspended=True, memories_max=5, bytes_max=9
    )
    assert change_terms(control, acme, suspended=False, memories_max=None) == Terms(bytes_max=9)
    assert control.terms(acme, age_s_max=0) == control.company(acme).terms == Terms(bytes_max=9)
    assert control.find_company(DEFAULT_COMPANY).terms == NO_BOUNDS


def test_terms_are_trusted_for_a_moment_only(control, acme, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(opening.time, "monotonic", lambda: now[0])
    assert control.terms(acme).suspended is False
    change_terms(control, acme, suspended=True)
    now[0] += 0.49
    assert control.terms(acme).suspended is False
    now[0] += 0.02
    assert control.terms(acme).suspended is True


@pytest.mark.parametrize("sealed", [None, b"", b"\x01" * 60])
def test_a_company_without_its_terms_is_refused(control, acme, sealed):
    put_terms(control, acme, sealed)
    with pytest.raises(IntegrityError):
        control.terms(acme)
    with pytest.raises(IntegrityError):
        control.companies()
    with pytest.raises(IntegrityError):
        change_terms(control, acme, suspended=False)


def test_the_terms_of_another_company_do_not_open(control, acme):
    put_terms(control, acme, sealed_terms(control, control.create_company("other").id))
    with pytest.raises(IntegrityError):
        control.terms(acme)


@pytest.mark.parametrize("sealed", [None, b""])
def test_missing_terms_stay_missing_at_the_next_start(control, acme, server_settings, sealed):
    put_terms(control, acme, sealed)
    again = open_control(server_settings)
    with pytest.raises(IntegrityError):
        again.terms(acme)
    again.close()


def test_the_default_company_is_the_operators(control):
    home = control.find_company(DEFAULT_COMPANY).id
    for forbidden in (lambda: change_terms(control, home, suspended=True), lambda: destroy_company(control, home)):
        with pytest.raises(Conflict) as refused:
            forbidden()
        assert refused.value.reason == "default_company"
    assert change_terms(control, home, memories_max=7).memories_max == 7


def set_handle(control: ControlStore, company: str, handle: bytes | None) -> None:
    with control.database.write() as connection:
        connection.execute(update(companies).where(companies.c.id == company).values(handle=handle))


def test_the_default_company_is_told_by_its_sealed_name_not_by_its_handle(control, acme):
    home = control.find_company(DEFAULT_COMPANY).id
    set_handle(control, home, None)
    set_handle(control, acme, control.master.handle("company", DEFAULT_COMPANY))
    with pytest.raises(IntegrityError):
        control.find_company(DEFAULT_COMPANY)
    for forbidden in (lambda: change_terms(control, home, suspended=True), lambda: destroy_company(control, home)):
        with pytest.raises(Conflict):
            forbidden()
    assert change_terms(control, acme, suspended=True).suspended


def test_a_destroyed_company_is_gone_for_everybody(control, acme):
    key = create_key(control, acme, ["read"], ["*"], None)
    assert read_credentials(control).authenticate(key, control.clock()).company_id == acme
    destroy_company(control, acme)
    with pytest.raises(Unauthenticated):
        read_credentials(control).authenticate(key, control.clock())
    assert has_keys(control)  # it had one: nobody comes in without one again
    for question in (
        lambda: control.company(acme),
        lambda: control.find_company("acme"),
        lambda: control.terms(acme, age_s_max=0),
        lambda: control.records(acme),
        lambda: change_terms(control, acme, suspended=True),
        lambda: destroy_company(control, acme),
    ):
        with pytest.raises(NotFound):
            question()
    assert acme not in control.company_ids()
    assert [company.name for company in control.companies()] == [DEFAULT_COMPANY]


def test_a_name_can_be_given_again_and_means_another_company(control, acme):
    secret = control.records(acme).key.newest.secret
    destroy_company(control, acme)
    again = control.create_company("acme")
    assert again.id != acme
    assert control.records(again.id).key.newest.secret != secret


def wrapped_key(control: ControlStore, company: str) -> bytes:
    with control.database.read() as connection:
        return connection.execute(company_keys.select().where(company_keys.c.company_id == company)).one().wrapped


def files_with(control: ControlStore, secret: bytes) -> list[str]:
    return [path.name for path in control.root.iterdir() if path.is_file() and secret in path.read_bytes()]


def test_the_key_leaves_every_file_of_the_control_store(control, acme):
    wrapped = wrapped_key(control, acme)
    assert files_with(control, wrapped)
    destroy_company(control, acme)
    assert erased_at(control) is not None
    assert settle_erased(control.database)
    assert files_with(control, wrapped) == []
    assert erased_at(control) is None


def test_the_next_start_empties_the_log_of_a_key_whose_erasure_was_cut_off(control, acme, server_settings):
    wrapped = wrapped_key(control, acme)
    destroy_company(control, acme)  # and the process dies
    assert files_with(control, wrapped) == ["control.db-wal"]
    again = open_control(server_settings)
    assert files_with(control, wrapped) == []
    assert erased_at(again) is None
    again.close()


def test_a_reader_holds_the_note_until_it_lets_go_of_the_log(control, acme):
    wrapped = wrapped_key(control, acme)
    reader = sqlite3.connect(control.root / "control.db")
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM company_keys").fetchall()
    destroy_company(control, acme)
    assert not settle_erased(control.database)
    assert erased_at(control) is not None
    reader.close()
    assert settle_erased(control.database)
    assert files_with(control, wrapped) == []


def test_copies_that_a_migration_made_go_with_the_key(control, acme):
    copy = control.root / "control.db.before-control_0003"
    copy.write_bytes(wrapped_key(control, acme))
    assert settle_erased(control.database)
    assert copy.exists()  # nothing was erased
    destroy_company(control, acme)
    settle_erased(control.database)
    assert not copy.exists()


def test_what_a_killed_backup_left_goes_with_the_key(control, acme):
    left = control.root / "backup-work" / "control.db"
    left.parent.mkdir()
    left.write_bytes(wrapped_key(control, acme))
    destroy_company(control, acme)
    assert settle_erased(control.database)
    assert not left.parent.exists()


def test_a_backup_under_way_holds_the_note_until_its_copies_are_gone(control, acme):
    with workplace(control.root) as folder:
        (folder / "control.db").write_bytes(wrapped_key(control, acme))
        destroy_company(control, acme)
        assert not settle_erased(control.database)
        assert erased_at(control) is not None
        assert folder.exists()
    assert settle_erased(control.database)
    assert erased_at(control) is None

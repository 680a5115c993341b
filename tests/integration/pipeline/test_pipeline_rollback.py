"""An older record store that is put back is noticed when it is opened; taking it as it is must be said."""

import shutil

import pytest

from core.errors import IntegrityError, Unavailable
from core.pipeline.forgetting import Conditions, delete_matching
from core.records.anchors import epoch
from core.records.control import open_control
from core.records.engine import Database
from core.records.tables import companies, namespaces
from tests.integration.processes import run_command


def files(server):
    return server.records.folder / "records.db"


def copy(path, target) -> None:
    """Copy a database that nobody has open."""
    for rest in target.parent.glob(f"{target.name}-*"):
        rest.unlink()
    shutil.copy(path, target)


def epoch_of(server) -> int:
    with server.records.database.read() as connection:
        return epoch(connection)


def anchor_of(server):
    with server.runtime.control.database.read() as connection:
        return connection.execute(companies.select()).one().sealed_anchor


@pytest.fixture
def open_records(server, server_settings):
    """Open the company's record store as every process does, and close it again."""

    def open_and_close() -> None:
        control = open_control(server_settings)
        try:
            control.records(server.company)
        finally:
            control.close()

    return open_and_close


@pytest.fixture
def older(server, tmp_path):
    """A store with a secret, which is copied and then deleted; returns the copy. The server is closed."""
    server.write({"id": "secret", "content": "A secret."}, {"id": "kept", "content": "A note."})
    server.settle()
    server.close()
    copy(files(server), tmp_path / "older.db")
    return tmp_path / "older.db"


@pytest.fixture
def newer(server, older, open_server):
    """The same store after the deletion; closed too."""
    again = open_server()
    again.delete("secret")
    again.close()
    return again


WRITES = {
    "write": lambda server: server.write("One more."),
    "update": lambda server: server.write({"id": "a", "content": "Another wording."}),
    "bulk": lambda server: server.write("One.", "Two."),
    "delete": lambda server: server.delete("a"),
    "delete of what is not indexed": lambda server: server.delete("c"),
    "delete by condition": lambda server: delete_matching(
        server.records, server.namespace(), Conditions(tags=["tagged"])
    ),
    "expiry": lambda server: (server.clock.advance(100), server.maintain()),
    "delete of a namespace": lambda server: server.records.delete_namespace("notes"),
    "flush": lambda server: server.settle(),
}


@pytest.mark.parametrize("change", WRITES.values(), ids=WRITES)
def test_everything_that_is_accepted_raises_the_epoch(server, change):
    server.write(
        {"id": "a", "content": "A note."},
        {"id": "b", "content": "A tagged note.", "tags": ["tagged"]},
        {"content": "Gone soon.", "ttl_seconds": 10},
    )
    server.settle()
    server.write({"id": "c", "content": "Not indexed."})
    before = epoch_of(server)

    change(server)

    assert epoch_of(server) > before


def test_an_older_record_file_is_refused_with_the_remedy(newer, older, open_records):
    copy(older, files(newer))

    with pytest.raises(IntegrityError) as refused:
        open_records()
    assert refused.value.reason == "rolled_back"
    assert "ostraka accept-rollback --company" in refused.value.message
    assert newer.company in refused.value.message


def test_a_lost_record_file_is_refused(newer, open_records):
    files(newer).unlink()

    with pytest.raises(IntegrityError, match="older"):
        open_records()


def test_the_right_file_put_back_again_is_opened(newer, older, open_server, open_records, tmp_path):
    copy(files(newer), tmp_path / "right.db")
    copy(older, files(newer))
    with pytest.raises(IntegrityError):
        open_records()

    copy(tmp_path / "right.db", files(newer))
    assert open_server().ids("note secret", mode="vector") == ["kept"]


def test_the_anchor_follows_each_round_of_maintenance(older, open_server, open_records):
    """The process is killed: it never closes anything."""
    server = open_server()
    server.delete("secret")
    server.maintain()
    path = files(server)
    server.runtime.control._opened.clear()  # nothing is anchored any more when it closes
    server.records.database.close()
    server.close()
    copy(older, path)

    with pytest.raises(IntegrityError):
        open_records()


def test_an_idle_round_writes_no_anchor(server):
    server.write("A note.")
    server.settle()
    server.maintain()
    before = anchor_of(server)

    server.maintain()
    assert anchor_of(server) == before
    server.write("Another note.")
    server.maintain()
    assert anchor_of(server) != before


def test_an_anchor_never_goes_back_by_itself(newer, older, open_server):
    server = open_server()
    before = anchor_of(server)
    with server.records.database.write() as connection:
        connection.execute(namespaces.update().values(overlay_version=0, generation=0))

    server.maintain()

    assert anchor_of(server) == before


def test_control_db_of_the_same_time_makes_an_older_server(server, older, open_server, tmp_path):
    control = server.runtime.control.root / "control.db"
    copy(control, tmp_path / "control.db")
    again = open_server()
    again.delete("secret")
    again.close()

    copy(older, files(server))
    copy(tmp_path / "control.db", control)

    assert sorted(open_server().ids("note secret", mode="vector")) == ["kept", "secret"]


def test_an_accepted_rollback_is_opened_and_anchored_anew(newer, older, open_server, open_records, server_settings):
    copy(older, files(newer))
    with pytest.raises(IntegrityError):
        open_records()

    control = open_control(server_settings)
    control.accept_rollback(newer.company)
    control.close()
    server = open_server()
    assert sorted(server.ids("note secret", mode="vector")) == ["kept", "secret"]
    server.check()
    copied = older.with_suffix(".again")
    server.close()
    copy(files(server), copied)
    server = open_server()
    server.delete("secret")
    server.close()
    copy(copied, files(server))
    with pytest.raises(IntegrityError):
        open_records()


def test_an_anchor_of_another_company_does_not_open(server, server_settings):
    other = server.runtime.control.create_company("other").id
    server.runtime.control.records(other)
    server.write("A note.")
    server.maintain()
    server.close()

    control = open_control(server_settings)
    with control.database.write() as connection:
        connection.execute(companies.update().values(sealed_anchor=anchor_of_company(connection, server.company)))
    assert control.records(server.company).namespaces()
    with pytest.raises(IntegrityError) as refused:
        control.records(other)
    assert refused.value.reason == "integrity"
    control.close()


def anchor_of_company(connection, company):
    return connection.execute(companies.select().where(companies.c.id == company)).one().sealed_anchor


def test_a_store_that_cannot_be_written_is_opened_all_the_same(older, open_server, monkeypatch):
    """As while it is frozen: the anchor lags behind then."""

    def refuse(*_, **__):
        raise Unavailable("the disk is full", code="store_unavailable")

    with monkeypatch.context() as full:
        full.setattr(Database, "write", refuse)
        server = open_server()
        assert sorted(server.ids("note secret", mode="vector")) == ["kept", "secret"]


def test_the_command_takes_the_older_store_as_it_is(newer, older, tmp_path, open_server):
    copy(older, files(newer))

    status, _, said = run_command(tmp_path, "failures", "list")
    assert status == 2
    assert "accept-rollback" in said
    assert run_command(tmp_path, "accept-rollback", "--company", "nobody")[0] == 2
    assert run_command(tmp_path, "accept-rollback", "--company", "default")[0] == 0
    assert sorted(open_server().ids("note secret", mode="vector")) == ["kept", "secret"]

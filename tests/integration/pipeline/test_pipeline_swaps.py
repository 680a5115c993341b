"""Rows, keys, shards and files that were moved, removed or put back from an older copy are refused."""

import shutil
import sqlite3

import pytest

from core.backup.restoring import restore_directory
from core.errors import IntegrityError, OstrakaError
from core.pipeline import rotation
from core.records.control import open_control
from core.records.reading import get_memory
from core.shards.sealing import blob_name, check_shard
from tests.backups import back_up, opened
from tests.integration.pipeline.rotating import finish, rotate_namespace


@pytest.fixture
def filled(server, patient):
    """Two namespaces; ``notes`` has had two shards one after the other, and two keys."""
    for number in range(3):
        server.write({"id": f"a{number}", "content": f"Anchor number {number}."})
        server.write({"id": f"b{number}", "content": f"Buoy number {number}."}, namespace="other")
        server.settle()
    return server


def file_of(server):
    return server.records.folder / "records.db"


def edit(server, *statements: str) -> None:
    """Change the closed record store, as somebody with the disk in his hands would."""
    connection = sqlite3.connect(file_of(server))
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


def swap_handles(server) -> None:
    [mine], [other] = (row_of(file_of(server), "namespaces", f"id = {number}") for number in (1, 2))
    edit(
        server,
        "UPDATE namespaces SET handle = NULL WHERE id = 1",
        f"UPDATE namespaces SET handle = x'{mine['handle'].hex()}' WHERE id = 2",
        f"UPDATE namespaces SET handle = x'{other['handle'].hex()}' WHERE id = 1",
    )


def row_of(path, table: str, condition: str):
    connection = sqlite3.connect(path)
    connection.row_factory = sqlite3.Row
    found = connection.execute(f"SELECT * FROM {table} WHERE {condition}").fetchall()
    connection.close()
    return found


def put_back(server, older, table: str, condition: str) -> None:
    """Put rows of an older copy back in place of those that are there."""
    connection = sqlite3.connect(file_of(server))
    connection.execute(f"DELETE FROM {table} WHERE {condition}")
    for row in row_of(older, table, condition):
        names, marks = ", ".join(row.keys()), ", ".join("?" * len(row))
        connection.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", tuple(row))
    connection.commit()
    connection.close()


@pytest.fixture
def older(filled, tmp_path, open_server):
    """A copy of the record store from before three more flushes and a finished rotation; the server is closed."""
    filled.close()
    copy = tmp_path / "older.db"
    shutil.copy(file_of(filled), copy)
    again = open_server()
    again.write({"id": "late", "content": "A late anchor."})
    again.settle()
    rotate_namespace(again)
    finish(again)
    again.close()
    return copy


NOTES = "namespace_id = 1"
ATTACKS = {
    "a shard's row removed": lambda server, _: edit(server, "DELETE FROM shards WHERE namespace_id = 1"),
    "a shard's row retired": lambda server, _: edit(server, "UPDATE shards SET retired_at = 1 WHERE namespace_id = 1"),
    "an older list of shards": lambda server, older: put_back(server, older, "shards", NOTES),
    "a shard of the other namespace brought along": lambda server, _: edit(
        server,
        "UPDATE shards SET namespace_id = 1 WHERE namespace_id = 2 AND retired_at IS NULL",
    ),
    "an older shard made live again": lambda server, older: edit(
        server,
        f"ATTACH '{older}' AS older",
        "INSERT INTO main.shards SELECT * FROM older.shards WHERE namespace_id = 1 AND retired_at IS NULL",
    ),
    "the generation set back": lambda server, _: edit(server, "UPDATE namespaces SET generation = generation - 1"),
    "an older row of the namespace": lambda server, older: put_back(server, older, "namespaces", "id = 1"),
    "an older key put back": lambda server, older: edit(
        server,
        f"ATTACH '{older}' AS older",
        "INSERT INTO main.namespace_keys SELECT * FROM older.namespace_keys WHERE namespace_id = 1",
    ),
    "the newest key replaced by an older one": lambda server, older: put_back(server, older, "namespace_keys", NOTES),
    "the newest key removed": lambda server, _: edit(server, "DELETE FROM namespace_keys WHERE namespace_id = 1"),
    "the wrapped key of another namespace": lambda server, _: edit(
        server,
        "UPDATE namespace_keys SET wrapped = (SELECT wrapped FROM namespace_keys WHERE namespace_id = 2) "
        "WHERE namespace_id = 1",
    ),
    "the state of another namespace": lambda server, _: edit(
        server, "UPDATE namespaces SET sealed_state = (SELECT sealed_state FROM namespaces WHERE id = 2) WHERE id = 1"
    ),
    "the handles of two namespaces swapped": lambda server, _: swap_handles(server),
    "the state removed": lambda server, _: edit(server, "UPDATE namespaces SET sealed_state = NULL WHERE id = 1"),
    "the whole record store of before": lambda server, older: shutil.copy(older, file_of(server)),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_what_was_moved_removed_or_put_back_is_refused(filled, older, open_server, attack):
    ATTACKS[attack](filled, older)
    with pytest.raises(IntegrityError) as refused:
        open_server().search("anchor")
    assert refused.value.reason in {"rolled_back", "integrity", "wrong_key"}


@pytest.mark.parametrize("attack", ["a shard's row removed", "an older shard made live again"])
def test_nothing_is_committed_over_what_was_put_back(filled, older, open_server, attack):
    again = open_server()
    again.namespace()
    again.write({"id": "more", "content": "One more anchor."})
    again.embed()
    ATTACKS[attack](filled, older)
    with again.records.database.read() as connection:
        before = connection.exec_driver_sql("SELECT sealed_state, generation FROM namespaces WHERE id = 1").one()
    again.index()
    again.maintain()
    with again.records.database.read() as connection:
        assert (
            connection.exec_driver_sql("SELECT sealed_state, generation FROM namespaces WHERE id = 1").one() == before
        )


def test_nothing_is_written_to_a_namespace_that_has_the_name_of_another(filled, older, open_server):
    swap_handles(filled)
    again = open_server()
    for _ in range(2):
        with pytest.raises(IntegrityError):
            again.records.ensure_namespace("notes")


def test_an_operator_takes_it_as_it_is(filled, older, open_server, server_settings):
    ATTACKS["a shard's row removed"](filled, older)
    control = open_control(server_settings)
    control.accept_rollback(filled.company)
    control.close()
    again = open_server()
    assert again.search("anchor") == []
    assert again.ids("buoy", namespace="other")
    assert get_memory(again.records, again.namespace(), "late").content == "A late anchor."


def test_a_shard_under_another_name_or_of_another_namespace_is_refused(filled):
    [mine], [other] = filled.shards(), filled.shards("other")
    root = filled.records.folder / "shards"
    here = root / blob_name(filled.namespace().public_id, mine.public_id)
    there = root / blob_name(filled.namespace("other").public_id, other.public_id)
    shutil.copy(there, here)
    with pytest.raises(IntegrityError):
        check_shard(filled.blobs, filled.namespace().key, mine.public_id)


def test_a_row_moved_elsewhere_does_not_open(filled):
    one, two = filled.row_ids("a0")[0], filled.row_ids("a1")[0]
    edit(filled, f"UPDATE memories SET sealed = (SELECT sealed FROM memories WHERE id = {one}) WHERE id = {two}")
    with pytest.raises(IntegrityError):
        get_memory(filled.records, filled.namespace(), "a1")


def test_the_files_of_two_companies_cannot_be_swapped(filled, open_server, server_settings):
    control = filled.runtime.control
    second = control.records(control.create_company("second").id)
    second.ensure_namespace("notes")
    folders = filled.records.folder, second.folder
    ids = filled.company, second.company
    filled.close()
    aside = folders[0].with_name("aside")
    folders[0].rename(aside)
    folders[1].rename(folders[0])
    aside.rename(folders[1])
    swapped = open_control(server_settings)
    try:
        for company in ids:
            with pytest.raises(OstrakaError):
                swapped.records(company).namespaces()
    finally:
        swapped.close()


def test_a_backup_of_one_company_holds_nothing_of_anothers_keys(filled, tmp_path):
    control = filled.runtime.control
    others = [control.create_company(f"other-{number}").id for number in range(20)]
    wrapped = [bytes(row["wrapped"]) for row in row_of(control.root / "control.db", "company_keys", "1")]
    restore_directory(opened(back_up(control, filled.company), control.master), tmp_path / "alone")
    [kept] = row_of(tmp_path / "alone" / "control.db", "company_keys", "1")
    assert kept["company_id"] == filled.company
    held = (tmp_path / "alone" / "control.db").read_bytes()
    assert bytes(kept["wrapped"]) in held
    assert [key for key in wrapped if key != bytes(kept["wrapped"]) and key[17:] in held] == []
    assert [company for company in others if company.encode() in held] == []


def test_what_was_copied_before_a_namespace_was_deleted_does_not_open(filled, tmp_path):
    namespace = filled.namespace()
    [row] = row_of(file_of(filled), "memories", f"id = {filled.row_ids('a0')[0]}")
    [shard] = filled.shards()
    path = filled.records.folder / "shards" / blob_name(namespace.public_id, shard.public_id)
    shutil.copy(path, tmp_path / "copied.shard")
    [wrapped] = row_of(file_of(filled), "namespace_keys", NOTES)
    filled.records.delete_namespace("notes")
    filled.clock.advance(120)
    filled.maintain()
    held = [
        path for path in filled.records.folder.rglob("*.db*") if bytes(wrapped["wrapped"])[17:] in path.read_bytes()
    ]
    assert held == []
    again = filled.namespace()  # of the same name, with a key of its own
    with pytest.raises(IntegrityError):
        again.key.open_row(row["sealed"], "memories", row["id"], "content")
    place = filled.records.folder / "shards" / blob_name(again.public_id, shard.public_id)
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(tmp_path / "copied.shard", place)
    with pytest.raises(IntegrityError):
        check_shard(filled.blobs, again.key, shard.public_id)


def test_an_older_company_key_put_back_opens_nothing(filled, open_server, tmp_path):
    control = filled.runtime.control
    filled.close()
    shutil.copy(control.root / "control.db", tmp_path / "control.db")
    again = open_server()
    rotation.rotate_company(again.runtime.control, again.company)
    again.close()
    shutil.copy(tmp_path / "control.db", control.root / "control.db")
    with pytest.raises(IntegrityError):
        open_server().search("anchor")

"""Keys of the store and of companies are replaced while processes use them; killed at any step, it is ended."""

import pytest
from sqlalchemy import LargeBinary, select

from core.crypto.keysource import rotating
from core.errors import ConfigurationError, Unavailable
from core.pipeline import rotation
from core.records.apikeys import create_key, list_keys
from core.records.keyversions import BY_NAMESPACE
from core.records.rewrapping import BY_COMPANY, BY_MASTER
from core.records.tables import companies, company, company_keys, control, namespace_keys, store
from tests.backups import back_up
from tests.integration.pipeline.rotating import Killed, fill, finish, rotate_master, rotate_namespace
from tests.stores import IN_FILES, LONG_ON_POSTGRES

RECORD_STORES = LONG_ON_POSTGRES

NOT_SEALED_BY_THESE = {  # handles, hashes, the audit log's place (by a key of its own), digests (written anew)
    "store.sealed_audit",
    "companies.sealed_roll",
    "companies.handle",
    "api_keys.secret_hash",
    "namespaces.handle",
    "jobs.idempotency",
    "jobs.request_hash",
    "memories.handle",
    "memories.session",
    "shards.members",
}


def test_every_sealed_column_is_named_where_keys_are_rotated():
    covered = {str(sealed.column) for sealed in (*BY_MASTER, *BY_COMPANY)}
    covered |= {f"{sealed.table.name}.{name}" for sealed in BY_NAMESPACE for name in sealed.columns}
    columns = {
        f"{table.name}.{column.name}"
        for schema in (control, company)
        for table in schema.tables.values()
        for column in table.columns
        if isinstance(column.type, LargeBinary)
    }
    assert columns - NOT_SEALED_BY_THESE == covered


@pytest.mark.parametrize("step", ["end_company_rotation", "rewrap_company", "set_counter", "delete", "settle_erased"])
def test_a_rotation_of_a_company_that_is_killed_is_ended_by_maintenance(server, monkeypatch, step, restart):
    fill(server)

    def dies(*_):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(rotation, step, dies)
        with pytest.raises(Killed):
            rotation.rotate_company(server.runtime.control, server.company)
    again = restart(server)
    assert again.ids("Lantern number 3", limit=20)[0] == "m3"
    again.maintain()
    found = rotation.company_rotation(again.runtime.control, again.company)
    assert (found.version, found.unfinished, found.log) == (2, False, False)
    again.write("Written under the new key.")
    assert again.ids("Lantern number 3", limit=20)[0] == "m3"


def test_a_rotated_company_is_noticed_by_the_other_process(open_server):
    one, two = open_server(), open_server()
    fill(one)
    two.namespace()
    assert rotation.rotate_company(one.runtime.control, one.company) == 2
    two.write("A lantern in the old namespace.", namespace="notes")
    two.write("A lantern in a new one.", namespace="other")
    two.settle()
    assert one.ids("Lantern number 3", limit=20)[0] == "m3"
    assert len(one.ids("lantern", namespace="other")) == 1
    with one.runtime.control.database.read() as connection:
        assert list(connection.execute(select(company_keys.c.version)).scalars()) == [2]


def test_the_source_of_keys_is_not_asked_while_a_write_is_under_way(open_server):
    """It may be far away, and every other writer waits."""
    one, two = open_server(), open_server()
    fill(one)
    two.namespace()
    rotate_master(one)
    rotation.rotate_company(one.runtime.control, one.company)
    source = two.runtime.control.key_source
    asked = []

    class Counted:
        where = source.where

        def find(self, key_id):
            asked.append(key_id)
            return source.find(key_id)

    two.runtime.control.key_source = Counted()
    with pytest.raises(Unavailable, match="try again"):
        two.namespace("new")
    assert asked == []
    two.runtime.control.companies()  # as each request looks, and each round of maintenance
    assert asked == [one.runtime.control.master.key_id]
    two.write({"id": "new", "content": "A lantern."}, namespace="new")
    two.settle()
    assert one.ids("lantern", namespace="new") == ["new"]


def test_a_process_that_has_missed_both_rotations_is_in_order_after_a_round_of_maintenance(open_server):
    one, two = open_server(), open_server()
    fill(one)
    two.namespace()
    rotate_master(one)
    rotation.rotate_company(one.runtime.control, one.company)
    two.maintain()
    two.write("A lantern in a new namespace.", namespace="new")


def test_the_master_key_is_rotated_under_two_processes(open_server, restart):
    one, two = open_server(), open_server()
    fill(one)
    before = one.runtime.control.master
    key = create_key(two.runtime.control, one.company, ["read"], ["*"], None)
    sealed = _sealed_values(one)
    after = rotate_master(one)
    assert after != before.key_id
    assert two.runtime.control.master.key_id == before.key_id
    assert [found.name for found in two.runtime.control.companies()] == ["default"]
    assert two.runtime.control.master.key_id == after
    assert two.runtime.control.find_company("default").id == one.company
    assert [found.id for found in list_keys(two.runtime.control)] == [key.partition(".")[0].removeprefix("ostraka_")]
    assert not sealed & _sealed_values(one)
    two.close()
    again = restart(one)
    assert again.ids("Lantern number 3", limit=20)[0] == "m3"
    assert again.runtime.control.master.key_id == after
    with again.runtime.control.database.read() as connection:
        assert connection.execute(select(store.c.keys_erased_at)).scalar_one() is None


def test_nothing_is_sealed_with_the_master_key_of_before(open_server):
    """A process that takes its key before the rotation and writes after it, is given the new one."""
    one, two = open_server(), open_server()
    old = two.runtime.control.master
    after = rotate_master(one)
    with two.runtime.control.writing() as (_, master):
        assert master.key_id == after != old.key_id


@pytest.mark.parametrize("step", ["rewrap_control", "mark_erased", "settle_erased"])
def test_a_rotation_of_the_master_key_that_is_killed_is_whole_or_nothing(server, monkeypatch, step, restart):
    fill(server)
    before = server.runtime.control.master.key_id

    def dies(*_):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(rotation, step, dies)
        with pytest.raises(Killed):
            rotate_master(server)
    again = restart(server)
    assert (again.runtime.control.master.key_id == before) == (step != "settle_erased")
    assert again.ids("Lantern number 3", limit=20)[0] == "m3"
    rotate_master(again)
    assert restart(again).ids("Lantern number 3", limit=20)[0] == "m3"


def test_a_rotation_killed_before_its_promotion_is_ended_by_the_next_start(server, monkeypatch, restart):
    fill(server)
    source = rotating(server.runtime.control.key_source)

    class Dying:
        where = source.where
        find = source.find
        prepare_next = source.prepare_next

        def promote(self, _):
            raise Killed

    with pytest.raises(Killed):
        rotation.rotate_master(server.runtime.control, Dying())
    again = restart(server)
    assert again.ids("Lantern number 3", limit=20)[0] == "m3"
    with again.runtime.control.database.read() as connection:
        assert connection.execute(select(store.c.master_key_id)).scalar_one() == again.runtime.control.master.key_id


def test_a_source_that_makes_no_keys_says_so(server):
    class Fixed:
        where = "a drawer"

        def find(self, _):
            return None

    with pytest.raises(ConfigurationError, match="makes no keys"):
        rotating(Fixed())


def test_no_wrapped_key_of_before_is_left_in_the_files(server, patient):
    fill(server)
    with server.records.database.read() as connection:
        wrapped = connection.execute(select(namespace_keys.c.wrapped)).scalar_one()
    with server.runtime.control.database.read() as connection:
        of_company = connection.execute(select(company_keys.c.wrapped)).scalar_one()
    rotate_namespace(server)
    finish(server)
    rotation.rotate_company(server.runtime.control, server.company)
    rotate_master(server)
    server.maintain()
    held = {
        path
        for path in server.runtime.control.root.rglob("*.db*")
        for each in (wrapped, of_company)
        if each[17:] in path.read_bytes()
    }
    assert held == set()


@IN_FILES
def test_a_backup_made_across_a_rotation_of_the_company_is_not_handed_out(server, monkeypatch):
    from core.backup import snapshot

    fill(server)
    copy = snapshot._copy_company

    def rotated(*given):
        rotation.rotate_company(server.runtime.control, server.company)
        return copy(*given)

    monkeypatch.setattr(snapshot, "_copy_company", rotated)
    with pytest.raises(Unavailable, match="rotated"):
        back_up(server.runtime.control)


@IN_FILES
def test_a_backup_is_not_handed_out_whose_copy_may_need_a_key_that_was_added_meanwhile(server, monkeypatch):
    """A rotation that has only begun: nothing in the record store says so, and a fresh process seals with it."""
    from core.backup import snapshot

    fill(server)
    copy = snapshot._copy_company

    def begun(*given):
        with monkeypatch.context() as patch:
            patch.setattr(rotation, "end_company_rotation", _dies)
            with pytest.raises(Killed):
                rotation.rotate_company(server.runtime.control, server.company)
        server.records.key.refresh()
        server.namespace("sealed with it")
        return copy(*given)

    monkeypatch.setattr(snapshot, "_copy_company", begun)
    with pytest.raises(Unavailable, match="rotated"):
        back_up(server.runtime.control)


def _dies(*_):
    raise Killed


def _sealed_values(server) -> set[bytes]:
    with server.runtime.control.database.read() as connection:
        return {
            value
            for table in (companies, company_keys)
            for row in connection.execute(select(table))
            for value in row
            if isinstance(value, bytes)
        }

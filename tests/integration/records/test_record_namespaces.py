"""Namespaces: made by the first write, apart from each other, and gone with their key."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import func, select

from core.errors import IntegrityError, NotFound
from core.records.reading import count_states, get_job, get_memory, list_memories
from core.records.rows import open_content
from core.records.tables import State, memories, namespace_keys, namespaces


def keys_of(desk, namespace) -> int:
    with desk.records.database.read() as connection:
        statement = select(func.count()).where(namespace_keys.c.namespace_id == namespace.id)
        return connection.execute(statement).scalar_one()


def test_an_unknown_namespace_is_not_found(desk):
    with pytest.raises(NotFound):
        desk.records.namespace("nothing")
    assert desk.records.namespaces() == []


def test_fifty_namespaces_are_apart(desk, open_desk):
    names = [f"agent/{number}" for number in range(50)]
    for name in names:
        desk.write({"id": "me", "content": f"I am {name}", "session": "s"}, namespace=name)
    other = open_desk()

    assert [namespace.name for namespace in other.records.namespaces()] == names
    assert len({namespace.key.newest.secret for namespace in other.records.namespaces()}) == 50
    for namespace in other.records.namespaces():
        [memory] = list_memories(other.records, namespace, after=0, limit=9, session="s").memories
        assert memory.content == f"I am {namespace.name}"
    with desk.records.database.read() as connection:
        handles = connection.execute(select(memories.c.handle, memories.c.session)).all()
    assert len({row.handle for row in handles}) == len({row.session for row in handles}) == 50


def test_a_row_moved_to_another_namespace_does_not_open(desk):
    desk.write("a", namespace="a")
    desk.write("b", namespace="b")
    [row] = desk.rows(desk.namespace("a"))

    with pytest.raises(IntegrityError):
        open_content(desk.namespace("b"), row.id, row.sealed)


def test_names_that_look_alike_are_different_namespaces(desk):
    made = [desk.namespace(name) for name in ("Notes", "notes", "notes/1", "nötes", "no tes", "记忆")]

    assert len({namespace.id for namespace in made}) == 6


def test_a_namespace_created_by_many_at_once_exists_once(desk, open_desk):
    desks = [desk, open_desk(), open_desk(), open_desk()]
    start = threading.Barrier(len(desks))

    def create(each):
        start.wait()
        return each.namespace("shared")

    with ThreadPoolExecutor(len(desks)) as pool:
        made = list(pool.map(create, desks))

    assert len({(namespace.id, namespace.key.newest.secret) for namespace in made}) == 1
    with desk.records.database.read() as connection:
        assert connection.execute(select(func.count()).select_from(namespaces)).scalar_one() == 1


def test_a_deleted_namespace_takes_its_key_and_content_along(desk, open_desk):
    job = desk.write("a", "b", namespace="doomed").job_id
    desk.embed()
    doomed = desk.namespace("doomed")
    desk.flush(doomed)
    desk.write("kept")
    sealed = desk.rows(doomed)[0].sealed

    desk.records.delete_namespace("doomed")

    assert keys_of(desk, doomed) == 0
    assert keys_of(desk, desk.namespace()) == 1
    assert desk.shards(doomed) == []
    for row in desk.rows(doomed):
        assert (row.state, row.sealed, row.sealed_vectors) == (State.DELETED, None, None)
    for each in (desk, open_desk()):
        with pytest.raises(NotFound):
            each.records.namespace("doomed")
        with pytest.raises(NotFound):
            each.records.namespace_by_id(doomed.id)
        assert [namespace.name for namespace in each.records.namespaces()] == ["notes"]
    view = get_job(desk.records, job)
    assert (view.deleted, view.namespace, view.finished_at is not None) == (2, "", True)
    again = desk.namespace("doomed")
    assert again.id != doomed.id
    with pytest.raises(IntegrityError):
        open_content(again, 1, sealed)


def test_rows_in_flight_go_with_their_namespace(desk):
    desk.write("claimed", namespace="doomed")
    token, [row] = desk.claim()
    doomed = desk.namespace("doomed")
    desk.records.delete_namespace("doomed")

    desk.write("unrelated")
    assert desk.claim()[1] == [desk.rows(desk.namespace())[0].id]
    assert (desk.row(row).state, desk.row(row).lease) != (State.EMBEDDED, token)
    with desk.records.database.read() as connection:
        assert count_states(connection, doomed.id)["deleted"] == 1


def test_a_process_that_still_knows_a_deleted_namespace_cannot_write_to_it(desk, open_desk):
    other = open_desk()
    stale = other.request("too late")
    desk.records.delete_namespace("notes")

    with pytest.raises(NotFound):
        other.commit(stale)

    other.records.forget(stale.namespace)
    accepted = other.write("in the new one")
    assert get_memory(desk.records, desk.namespace(), accepted.ids[0]).content == "in the new one"

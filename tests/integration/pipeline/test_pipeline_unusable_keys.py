"""A namespace whose key cannot be used waits for it to be repaired; its rows are not broken, and no other one waits."""

import pytest
from sqlalchemy import select, update

from core.errors import KeyUnusable
from core.memory import NewMemory
from core.pipeline.embedding import EmbedStage
from core.records.tables import Lane, memories, namespace_keys, namespaces
from core.records.writes import WriteRequest
from tests.integration.pipeline.rotating import fill, finish, key_versions, rotate_namespace
from tests.stores import LONG_ON_POSTGRES

RECORD_STORES = LONG_ON_POSTGRES

PATIENCE_S = 300  # no wait is longer


def flipped(value: bytes) -> bytes:
    return value[:-1] + bytes([value[-1] ^ 1])


@pytest.fixture(params=["a damaged wrapped key", "a state put back"])
def broken(request):
    """Return how to make a namespace's key unusable; what that returns repairs it."""

    def damage(server, name: str):
        namespace = server.namespace(name)
        newest = namespace_keys.c.version == namespace.key.version
        mine, column = (namespace_keys.c.namespace_id == namespace.id) & newest, namespace_keys.c.wrapped
        if request.param == "a state put back":
            mine, column = namespaces.c.id == namespace.id, namespaces.c.generation
        database, table = server.records.database, column.table
        with database.write() as connection:
            whole = connection.execute(select(column).where(mine)).scalar_one()
            wrong = flipped(whole) if isinstance(whole, bytes) else whole + 1
            connection.execute(update(table).where(mine).values({column.name: wrong}))

        def repair(server) -> None:
            with server.records.database.write() as connection:
                connection.execute(update(table).where(mine).values({column.name: whole}))

        return repair

    return damage


def rotate_to_a_damaged_key(server) -> None:
    rotate_namespace(server)
    with server.records.database.write() as connection:
        newest = namespace_keys.c.version == 2
        whole = connection.execute(select(namespace_keys.c.wrapped).where(newest)).scalar_one()
        connection.execute(update(namespace_keys).where(newest).values(wrapped=flipped(whole)))


def attempts(server) -> set[int]:
    with server.records.database.read() as connection:
        return set(connection.execute(select(memories.c.attempts).where(memories.c.state == "pending")).scalars())


def test_a_fresh_process_fails_no_row_of_it_and_embeds_those_of_others(server, broken, restart):
    server.write("A lantern behind a broken lock.")
    server.write({"id": "good", "content": "A lantern in the open."}, namespace="other")
    repair = broken(server, "notes")
    again = restart(server)
    again.settle()
    assert again.ids("lantern", namespace="other") == ["good"]
    assert attempts(again) == {0}
    repair(again)
    again.clock.advance(PATIENCE_S)
    again.settle()
    assert again.states()["failed"] == 0
    assert again.contents("lantern") == ["A lantern behind a broken lock."]


def test_its_rows_are_set_aside_where_its_key_became_unusable_during_the_work(open_server):
    one, two = open_server(), open_server()
    two.write("A lantern behind a broken lock.")
    two.write({"id": "good", "content": "A lantern in the open."}, namespace="other")
    rotate_to_a_damaged_key(one)
    two.settle()
    assert two.ids("lantern", namespace="other") == ["good"]
    assert attempts(two) == {0}


def test_a_write_to_it_is_refused_without_those_that_were_to_be_committed_with_it(open_server):
    one, two = open_server(), open_server()
    good, bad = two.namespace("other"), two.namespace()
    rotate_to_a_damaged_key(one)
    with two.records.database.write():  # what is submitted meanwhile is committed together
        first, refused, last = (
            two.tenant.committer.submit(WriteRequest(each, [NewMemory(content="A lantern.")], Lane.INTERACTIVE))
            for each in (good, bad, good)
        )
    assert first.result(timeout=60).job_id != last.result(timeout=60).job_id
    with pytest.raises(KeyUnusable):
        refused.result(timeout=60)


def test_another_namespace_is_sealed_anew_to_its_end(server, broken, restart, patient):
    fill(server)
    server.write("A lantern elsewhere.", namespace="other")
    rotate_namespace(server)
    rotate_namespace(server, "other")
    bad = server.namespace().id
    broken(server, "notes")
    again = restart(server)
    finish(again)
    with again.records.database.read() as connection:
        rows = connection.execute(select(namespace_keys.c.namespace_id, namespace_keys.c.version))
        assert {tuple(row) for row in rows} == {(bad, 1), (bad, 2), (again.namespace("other").id, 2)}


def test_a_row_that_was_sealed_anew_since_it_was_claimed_is_tried_again(open_server, patient, monkeypatch):
    one, two = open_server(), open_server()
    two.write({"id": "paused", "content": "A lantern for a paused worker."})
    opened = EmbedStage._open

    def open_later(*given):
        monkeypatch.setattr(EmbedStage, "_open", opened)
        rotate_namespace(two)
        finish(two)
        assert key_versions(two) == [2]
        return opened(*given)

    monkeypatch.setattr(EmbedStage, "_open", open_later)
    one.embed()
    assert one.states()["failed"] == 0
    one.clock.advance(PATIENCE_S)
    one.settle()
    assert one.ids("lantern") == ["paused"]

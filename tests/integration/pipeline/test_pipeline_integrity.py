"""Bytes that are not what we wrote are refused before anything parses them."""

import pytest
import structlog

from core.errors import IntegrityError
from core.records.reading import get_memory
from core.records.tables import State, memories

MODES = ("hybrid", "vector", "text")
CANARY = "The canary sings at noon."


def tamper(server, memory_id: str, column: str) -> int:
    """Flip one bit of a sealed column, as somebody with the database file could."""
    [row_id] = server.row_ids(memory_id)
    with server.records.database.write() as connection:
        row = connection.execute(memories.select().where(memories.c.id == row_id)).one()
        sealed = bytearray(row._mapping[column])
        sealed[len(sealed) // 2] ^= 1
        connection.execute(memories.update().where(memories.c.id == row_id).values({column: bytes(sealed)}))
    return row_id


def write_both(server):
    return server.write({"id": "canary", "content": CANARY}, {"id": "other", "content": "A plain note about tea."})


def test_a_tampered_row_is_passed_over_and_the_others_answer(server):
    write_both(server)
    server.settle()
    tamper(server, "canary", "sealed")

    with structlog.testing.capture_logs() as logs:
        found = {mode: server.ids("canary sings, tea", mode=mode) for mode in MODES}

    assert found == {mode: ["other"] for mode in MODES}
    refused = [entry for entry in logs if entry["event"] == "rows_refused"]
    assert {(entry["reason"], entry["rows"], entry["namespace"]) for entry in refused} == {
        ("integrity", 1, server.namespace().public_id)
    }
    assert server.tenant.query.refused == len(MODES)


def test_a_tampered_row_does_not_take_the_place_of_another(server):
    server.write(*({"id": f"n{number}", "content": "One of many equal notes."} for number in range(9)))
    server.settle()
    for number in (0, 1, 4):
        tamper(server, f"n{number}", "sealed")

    for mode in MODES:
        assert sorted(server.ids("equal notes", mode=mode, limit=3)) == ["n2", "n3", "n5"]
        assert len(server.ids("equal notes", mode=mode, limit=9)) == 6


def test_a_tampered_row_is_refused_to_those_who_ask_for_it(server):
    write_both(server)
    server.settle()
    tamper(server, "canary", "sealed")

    with pytest.raises(IntegrityError):
        get_memory(server.records, server.namespace(), "canary")


def test_a_tampered_successor_is_passed_over_too(server):
    write_both(server)
    server.settle()
    server.write({"id": "canary", "content": "It sings at dusk."})  # found through the old version until it is indexed
    [_, successor] = server.row_ids("canary")
    with server.records.database.write() as connection:
        connection.execute(memories.update().where(memories.c.id == successor).values(sealed=b"garbage"))

    for scope in ({}, {"until": server.clock.now + 1}):
        assert server.ids("canary sings, tea", **scope) == ["other"]


def test_a_row_moved_under_another_id_is_passed_over(server):
    write_both(server)
    server.settle()
    [canary], [other] = server.row_ids("canary"), server.row_ids("other")
    with server.records.database.write() as connection:
        row = connection.execute(memories.select().where(memories.c.id == other)).one()
        connection.execute(memories.update().where(memories.c.id == canary).values(sealed=row.sealed))

    assert server.search("canary", mode="text") == []
    assert server.tenant.query.refused == 1


def test_a_row_tampered_before_embedding_fails_alone(server):
    accepted = write_both(server)
    tamper(server, "canary", "sealed")

    server.settle()

    view = server.job(accepted)
    assert (view.state, view.indexed, view.failed) == ("failed", 1, 1)
    assert view.errors == [{"code": "integrity", "memories": 1}]
    assert server.ids("plain tea") == ["other"]
    server.check()


@pytest.mark.parametrize("column", ["sealed", "sealed_vectors"])
def test_a_row_tampered_before_indexing_fails_alone(server, column):
    accepted = write_both(server)
    server.embed()
    broken = tamper(server, "canary", column)

    server.settle()

    view = server.job(accepted)
    assert (view.state, view.indexed, view.failed) == ("failed", 1, 1)
    assert broken not in server.held()
    assert server.search("canary", mode="text") == []
    assert server.ids("plain tea") == ["other"]
    server.check()


def test_a_row_tampered_in_the_tail_leaves_it_with_the_next_flush(server):
    write_both(server)
    server.settle()
    broken = tamper(server, "canary", "sealed_vectors")
    server.write({"id": "third", "content": "Another note about coffee."})

    server.settle()

    assert broken not in server.held()
    assert server.states()[State.FAILED] == 1
    assert sorted(server.ids("note about a drink", mode="vector")) == ["other", "third"]
    server.check()


def test_vectors_of_another_model_are_never_mixed(server):
    write_both(server)
    server.embed()
    [row_id] = server.row_ids("canary")
    with server.records.database.write() as connection:
        connection.execute(memories.update().where(memories.c.id == row_id).values(fingerprint="other:fp32:0"))

    server.settle()

    assert server.states()[State.FAILED] == 1
    assert row_id not in server.held()

"""Bytes that are not what we wrote are refused before anything parses them."""

import shutil

import pytest

from core.errors import IntegrityError
from core.records.tables import State, memories
from core.shards.sealing import blob_name

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


def test_a_tampered_row_is_refused_when_an_answer_needs_it(server):
    write_both(server)
    server.settle()
    tamper(server, "canary", "sealed")

    for mode in MODES:
        with pytest.raises(IntegrityError):
            server.search("canary sings", mode=mode)
    assert server.ids("plain tea", mode="text") == ["other"]


def test_a_row_moved_under_another_id_is_refused(server):
    write_both(server)
    server.settle()
    [canary], [other] = server.row_ids("canary"), server.row_ids("other")
    with server.records.database.write() as connection:
        row = connection.execute(memories.select().where(memories.c.id == other)).one()
        connection.execute(memories.update().where(memories.c.id == canary).values(sealed=row.sealed))

    with pytest.raises(IntegrityError):
        server.search("canary", mode="text")


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


@pytest.fixture
def shard_path(server):
    """Write a shard and return its blob's path; nothing of it is open any more."""
    write_both(server)
    server.settle()
    return path_of(server, "notes")


def path_of(server, namespace):
    [shard] = server.shards(namespace)
    return server.records.folder / "shards" / blob_name(server.namespace(namespace).public_id, shard.public_id)


def refuses_search(server) -> None:
    for mode in MODES:
        with pytest.raises(IntegrityError):
            server.search("canary", mode=mode)


def refuses(server) -> None:
    """No answer, and nothing of the shard was left where index libraries would open it."""
    refuses_search(server)
    shards = server.runtime.cache.root / "shards"
    assert [path for path in shards.iterdir() if any(path.iterdir())] == []


@pytest.mark.parametrize("place", [0, 40, 0.3, 0.6, -1])
def test_a_shard_with_a_flipped_bit_is_refused(server, restart, shard_path, place):
    sealed = bytearray(shard_path.read_bytes())
    sealed[int(place * len(sealed)) if isinstance(place, float) else place] ^= 1
    shard_path.write_bytes(sealed)

    refuses(restart(server))


@pytest.mark.parametrize("share", [0.0, 0.5, 0.999])
def test_a_truncated_shard_is_refused(server, restart, shard_path, share):
    sealed = shard_path.read_bytes()
    shard_path.write_bytes(sealed[: int(len(sealed) * share)])

    refuses(restart(server))


def test_a_shard_with_more_at_its_end_is_refused(server, restart, shard_path):
    shard_path.write_bytes(shard_path.read_bytes() + b"\0")

    refuses(restart(server))


def test_a_missing_shard_is_refused(server, restart, shard_path):
    shard_path.unlink()

    refuses(restart(server))


def test_a_shard_of_another_namespace_is_refused(server, restart, shard_path):
    server.write("A foreign note.", namespace="foreign")
    server.settle()
    shutil.copy(path_of(server, "foreign"), shard_path)

    server = restart(server)
    refuses(server)
    assert server.contents("foreign note", namespace="foreign") == ["A foreign note."]


def test_an_older_shard_of_the_same_namespace_is_refused(server, restart, shard_path):
    older = shard_path.read_bytes()
    server.write("One more note.")
    server.settle()
    path_of(server, "notes").write_bytes(older)

    refuses(restart(server))


def test_a_sound_shard_is_answered_after_it_was_put_back(server, restart, shard_path):
    sound = shard_path.read_bytes()
    shard_path.write_bytes(sound[:-1])
    server = restart(server)
    refuses(server)

    shard_path.write_bytes(sound)

    assert server.contents("canary", mode="text") == [CANARY]
    server.check()


def test_a_broken_shard_stops_its_namespace_and_no_other(server, restart, shard_path):
    server.delete("other")
    shard_path.write_bytes(b"")
    server = restart(server)
    server.write("Waiting behind the broken tail.")
    server.write({"id": "u", "content": "Unharmed."}, {"id": "v", "content": "Unwanted."}, namespace="unharmed")
    server.settle()
    server.delete("v", namespace="unharmed")
    server.clock.advance(3_600)

    server.maintain()

    assert server.states()["embedded"] == 1
    refuses_search(server)
    assert server.ids("anything", namespace="unharmed", mode="vector") == ["u"]
    assert server.held("unharmed") == server.row_ids("u", "unharmed")
    server.check("unharmed")

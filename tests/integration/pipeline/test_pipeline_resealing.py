"""A namespace's key is replaced under load: nothing is lost, sealed too late, or erased too early."""

import random
import threading

import pytest
from sqlalchemy import select, update

from core.errors import KeyUnusable
from core.memory import NewMemory
from core.pipeline import resealing, rotation
from core.records import erasure
from core.records.keyversions import BY_NAMESPACE, older_values, retiring
from core.records.reading import get_memory
from core.records.tables import Lane, counters, memories, namespace_keys, shards
from core.records.writes import Idempotency, WriteRequest
from tests.integration.pipeline.rotating import Killed, fill, finish, key_versions, rotate_namespace
from tests.stores import LONG_ON_POSTGRES

RECORD_STORES = LONG_ON_POSTGRES


def test_a_rotated_namespace_is_sealed_anew_and_its_older_key_erased(server, patient):
    fill(server)
    request = WriteRequest(
        server.namespace(), [NewMemory(content="Kept.")], Lane.INTERACTIVE, Idempotency(b"h" * 32, b"r" * 32)
    )
    server.tenant.committer.submit(request).result(timeout=60)
    first = {shard.public_id for shard in server.shards()}
    assert rotate_namespace(server) == 2
    server.write({"id": "after", "content": "A lantern of afterwards."})
    server.settle()
    assert key_versions(server) == [1, 2]
    finish(server)
    assert key_versions(server) == [2]
    assert not first & {shard.public_id for shard in server.shards()}
    assert {shard.key_version for shard in server.shards()} == {2}
    with server.records.database.read() as connection:
        assert older_values(connection, server.namespace().id, 2) == 0
        assert erasure.erased_at(connection, "company") is None
    assert server.ids("Lantern number 7", limit=20)[0] == "m7"
    assert "after" in server.ids("afterwards", limit=20)
    assert server.tenant.committer.submit(request).result(timeout=60).repeated
    server.check()


def test_searches_and_writes_go_on_while_a_namespace_is_sealed_anew(server, patient, rng):
    fill(server, 40)
    rotate_namespace(server)
    stop, failures, found = threading.Event(), [], []

    def search(seed: int) -> None:
        order = random.Random(seed)
        while not stop.is_set():
            number = order.randrange(40)
            try:
                found.append(server.ids(f"Lantern number {number}", limit=50).count(f"m{number}"))
            except Exception as error:  # noqa: BLE001 - whatever a search may raise fails the test
                failures.append(error)

    searchers = [threading.Thread(target=search, args=(rng.random(),)) for _ in range(2)]
    for thread in searchers:
        thread.start()
    for number in range(6):
        server.write({"id": f"n{number}", "content": f"Anchor number {number} lies here."})
        server.delete(f"m{number + 30}") if number % 2 else None
        server.settle()
        server.clock.advance(70)
        server.maintain()
    stop.set()
    for thread in searchers:
        thread.join()
    finish(server)
    assert failures == []
    assert found
    assert key_versions(server) == [2]
    assert set(server.ids("number", mode="text", limit=100)) == (
        {f"m{number}" for number in range(40)} - {"m31", "m33", "m35"} | {f"n{number}" for number in range(6)}
    )


def test_another_process_seals_with_the_new_key_as_soon_as_it_is_there(open_server):
    one, two = open_server(), open_server()
    fill(one)
    assert two.ids("Lantern number 3", limit=20)[0] == "m3"
    rotate_namespace(one)
    two.write({"id": "late", "content": "A late lantern."})
    two.settle()
    with one.records.database.read() as connection:
        older = {row.id for row in connection.execute(select(memories).where(BY_NAMESPACE[2].older(1, 2)))}
        rows = {row.id for row in connection.execute(select(memories))}
    assert rows - older == set(two.row_ids("late"))
    assert one.ids("late lantern", limit=20)[0] == "late"


def test_a_shard_that_was_built_before_the_rotation_is_not_made_live_after_it(server, during_build):
    server.write({"id": "a", "content": "A lantern."})
    server.embed()
    during_build(lambda: rotate_namespace(server))
    server.index()
    assert {shard.key_version for shard in server.shards()} == {2}
    assert server.ids("lantern") == ["a"]


def test_an_erased_row_is_not_brought_back_by_sealing_it_anew(server, patient, monkeypatch):
    fill(server)
    rotate_namespace(server)
    [row] = server.row_ids("m1")
    changes = resealing.Resealing._changes

    def changed(*given):
        made = changes(*given)
        monkeypatch.setattr(resealing.Resealing, "_changes", changes)
        server.delete("m1")
        return made

    monkeypatch.setattr(resealing.Resealing, "_changes", changed)
    server.maintain()
    finish(server)
    with server.records.database.read() as connection:
        erased = connection.execute(select(memories).where(memories.c.id == row)).one()
    assert (erased.sealed, erased.sealed_vectors) == (None, None)
    assert key_versions(server) == [2]


def test_a_row_that_does_not_open_keeps_the_older_key_and_stops_nothing_else(server, patient):
    fill(server)
    rotate_namespace(server)
    [bad] = server.row_ids("m4")
    with server.records.database.write() as connection:
        whole = connection.execute(select(memories.c.sealed).where(memories.c.id == bad)).scalar_one()
        broken = whole[:-1] + bytes([whole[-1] ^ 1])
        connection.execute(update(memories).where(memories.c.id == bad).values(sealed=broken))
    finish(server)
    assert key_versions(server) == [1, 2]
    [left] = rotation.company_rotation(server.runtime.control, server.company).retiring
    assert left.rows == 1
    with server.records.database.write() as connection:
        connection.execute(update(memories).where(memories.c.id == bad).values(sealed=whole))
    for _ in range(4):
        server.clock.advance(400)
        server.maintain()
    assert key_versions(server) == [2]
    assert get_memory(server.records, server.namespace(), "m4").content == "Lantern number 4 hangs here."


def test_a_damaged_new_key_stops_the_work_and_fails_no_row(open_server, patient):
    one, two = open_server(), open_server()
    fill(one)
    two.namespace()
    two.write("One more lantern.")
    rotate_namespace(one)
    with one.records.database.write() as connection:
        newest = namespace_keys.c.version == 2
        whole = connection.execute(select(namespace_keys.c.wrapped).where(newest)).scalar_one()
        connection.execute(update(namespace_keys).where(newest).values(wrapped=whole[:-1] + bytes([whole[-1] ^ 1])))
    with pytest.raises(KeyUnusable):
        two.write("Not to be sealed.")
    two.settle()
    for _ in range(3):
        two.clock.advance(70)
        two.maintain()
    assert two.states()["failed"] == 0
    assert key_versions(one) == [1, 2]
    with one.records.database.write() as connection:
        connection.execute(update(namespace_keys).where(newest).values(wrapped=whole))
    two.clock.advance(400)
    two.settle()
    finish(two)
    assert key_versions(one) == [2]
    assert two.states()["failed"] == 0


@pytest.mark.parametrize("step", ["_walk", "_batch", "erase_versions", "settle_erased", "_replace"])
def test_sealing_anew_that_is_killed_goes_on_where_it_was(server, patient, monkeypatch, step, restart):
    fill(server)
    rotate_namespace(server)
    owner = resealing.Resealing if step in {"_walk", "_batch"} else resealing
    real = getattr(owner, step)
    calls = []

    def dies(*given):
        calls.append(given)
        if len(calls) == 3 or step == "erase_versions":
            raise Killed
        return real(*given)

    with monkeypatch.context() as patch:
        patch.setattr(owner, step, dies)
        with pytest.raises(Killed):
            finish(server)
    again = restart(server)
    again.clock.advance(700)  # leases of the dead run out
    finish(again)
    assert key_versions(again) == [2]
    assert len(again.ids("Lantern", limit=50)) == 10
    again.check()


def test_nothing_of_an_unfinished_rotation_is_listed_once_it_is_over(server, patient):
    fill(server)
    rotate_namespace(server)
    [found] = rotation.company_rotation(server.runtime.control, server.company).retiring
    assert (found.name, found.version, found.rows, found.shards) == ("notes", 2, 10, 1)
    finish(server)
    with server.records.database.read() as connection:
        assert retiring(connection) == []
        assert connection.execute(select(shards.c.id).where(shards.c.key_version == 1)).all() == []


def test_a_rotation_while_rows_are_counted_erases_no_key_that_they_need(open_server, patient, monkeypatch):
    """Rows that wait to be embedded have no shard that would keep their key."""
    one, two = open_server(), open_server()
    one.write({"id": "waiting", "content": "A lantern that waits."})
    two.namespace()
    rotate_namespace(one)

    def count_then_rotate(*given):
        counted = older_values(*given)
        monkeypatch.setattr(resealing, "older_values", older_values)
        assert counted == 0
        rotate_namespace(two)
        return counted

    monkeypatch.setattr(resealing, "older_values", count_then_rotate)
    one.maintain()
    assert key_versions(one) == [1, 2, 3]
    finish(one)
    assert key_versions(one) == [3]
    one.settle()
    assert one.ids("lantern") == ["waiting"]


def test_a_rotation_while_a_table_is_walked_begins_it_anew(open_server, patient, monkeypatch):
    one, two = open_server(), open_server()
    one.write("A lantern.")
    two.namespace()
    rotate_namespace(one)
    walk, read_counter = resealing.Resealing._walk, resealing.read_counter
    ended = []

    def read_then_rotate(connection, cursor):
        found = read_counter(connection, cursor)
        monkeypatch.setattr(resealing, "read_counter", read_counter)
        rotate_namespace(two)
        return found

    monkeypatch.setattr(resealing, "read_counter", read_then_rotate)
    monkeypatch.setattr(resealing.Resealing, "_walk", lambda *given: ended.append(walk(*given)) or ended[-1])
    one.maintain()
    assert ended == [(0, False)]
    finish(one)
    assert key_versions(one) == [3]


def test_rows_are_sealed_anew_a_page_at_a_time(server, patient, monkeypatch):
    monkeypatch.setattr(resealing, "_PAGE_ROWS", 4)
    fill(server)
    rotate_namespace(server)
    finish(server)
    assert key_versions(server) == [2]
    assert len(server.ids("Lantern", limit=50)) == 10


def test_a_deleted_namespace_leaves_no_cursor_of_its_resealing(server):
    fill(server)
    server.write("Another namespace.", namespace="other")
    rotate_namespace(server)
    rotate_namespace(server, "other")

    def cursors() -> set[str]:
        with server.records.database.read() as connection:
            names = connection.execute(select(counters.c.name)).scalars()
            return {name for name in names if name.startswith("reseal-")}

    others = {sealed.cursor(server.namespace("other").id) for sealed in BY_NAMESPACE}
    assert cursors() > others
    server.records.delete_namespace("notes")
    assert cursors() == others

"""A receipt says "purged" when the index files and the log are free of the deletion, and not a moment before."""

import threading
from pathlib import PurePath

import numpy as np
import pytest
from sqlalchemy import select

from core.embedding.runtime import Embedder
from core.pipeline.maintenance import READER_GRACE_S, collect_garbage
from core.pipeline.purging import PurgeWatch
from core.records.deletion import delete_memory
from core.records.receipts import get_receipt
from core.records.tables import memories
from core.settings import Storage
from core.shards.sealing import blob_name, fetch_shard
from tests.stores import IN_FILES, LONG_ON_POSTGRES

RECORD_STORES = LONG_ON_POSTGRES

LOOK_EVERY_S = 5
HALF_S = Storage().purge_s / 2


class Died(BaseException):
    """The process ended here: no handler of errors sees it."""


def die() -> None:
    raise Died


def fill(server, rows=12) -> None:
    server.write(*({"id": f"n{number}", "content": f"Note {number} about the harbour."} for number in range(rows)))
    server.settle()


def delete(server, memory_id="n3") -> str:
    return delete_memory(server.records, server.namespace(), memory_id)


def receipt(server, public_id):
    with server.records.database.read() as connection:
        return get_receipt(connection, public_id)


def maintain(server) -> None:
    server.clock.advance(LOOK_EVERY_S)
    server.maintain()


def stored_rows(server) -> set[int]:
    """The rows in every file of the blob store, listed or not."""
    found: set[int] = set()
    for name in server.blobs.names():
        with server.runtime.cache.workspace() as workspace:
            folder = workspace / "shard"
            folder.mkdir()
            fetch_shard(server.blobs, server.namespace().key, PurePath(name).stem, folder)
            found |= set(np.load(folder / "ids.npy").tolist())
    return found


def test_a_deletion_goes_through_its_states(server):
    fill(server)
    [row] = server.row_ids("n3")
    deletion = delete(server)
    maintain(server)
    assert (receipt(server, deletion).state, receipt(server, deletion).masked) == ("erased", True)
    assert row in stored_rows(server)

    server.clock.advance(HALF_S)
    maintain(server)  # rewritten without it; the replaced shard stays for its readers
    assert (receipt(server, deletion).state, receipt(server, deletion).masked) == ("erased", False)
    assert row in stored_rows(server)

    server.clock.advance(READER_GRACE_S)
    maintain(server)
    found = receipt(server, deletion)
    assert (found.state, found.purged_at) == ("purged", server.clock())
    assert found.purged_at < found.purge_due_at
    assert row not in stored_rows(server)


def test_what_was_in_no_shard_is_purged_at_once(server):
    fill(server)
    server.write({"id": "pending", "content": "Never indexed."})
    deletion = delete(server, "pending")
    maintain(server)
    assert receipt(server, deletion).state == "purged"


def test_a_file_that_nobody_lists_holds_the_receipt_back(server, during_build):
    """Left by a crash between a put and its commit: it was built when the row was not deleted."""
    fill(server)
    server.write({"id": "last", "content": "Built into a shard that nobody will list."})
    server.embed()
    during_build(die)
    with pytest.raises(Died):
        server.index()
    listed = {blob_name(server.namespace().public_id, shard.public_id) for shard in server.shards()}
    [orphan] = set(server.blobs.names()) - listed
    server.index()
    deletion = delete(server)
    [row] = server.row_ids("n3")
    server.clock.advance(HALF_S)
    server.tenant.index.compact()
    server.clock.advance(READER_GRACE_S)
    collect_garbage(server.records, server.tenant.index)

    watch = PurgeWatch(server.records, server.blobs)
    assert (watch.look(), receipt(server, deletion).state) == (0, "erased")
    assert row in stored_rows(server)

    server.blobs.delete(orphan)
    server.clock.advance(LOOK_EVERY_S)
    assert (watch.look(), receipt(server, deletion).state) == (1, "purged")
    assert row not in stored_rows(server)


def test_a_destroyed_namespace_is_purged_when_its_files_are_gone(server):
    fill(server)
    earlier = delete(server)
    deletion = server.records.delete_namespace("notes")
    maintain(server)
    assert [receipt(server, each).state for each in (earlier, deletion)] == ["erased", "erased"]
    assert list(server.blobs.names()) != []

    server.clock.advance(READER_GRACE_S)
    maintain(server)
    assert [receipt(server, each).state for each in (earlier, deletion)] == ["purged", "purged"]
    assert list(server.blobs.names()) == []


def test_a_memory_deleted_while_a_worker_embeds_it_leaves_nothing(server, monkeypatch):
    server.write({"id": "x", "content": "Deleted on its way."}, {"id": "y", "content": "Stays."})
    deletions = []
    embed = Embedder.embed_passages

    def delete_then_embed(embedder, texts, **how):
        if not deletions:
            deletions.append(delete(server, "x"))
        return embed(embedder, texts, **how)

    monkeypatch.setattr(Embedder, "embed_passages", delete_then_embed)
    server.settle()
    maintain(server)

    [row] = server.row_ids("x")
    with server.records.database.read() as connection:
        found = connection.execute(select(memories).where(memories.c.id == row)).one()
    assert (found.state, found.sealed, found.sealed_vectors, found.lease) == ("deleted", None, None, None)
    assert server.held() == server.row_ids("y")
    assert receipt(server, deletions[0]).state == "purged"


def test_a_namespace_destroyed_while_it_is_flushed_leaves_no_file(server, during_build):
    fill(server)
    server.write({"id": "z", "content": "In the tail that is being built."})
    server.embed()
    deletions = []
    during_build(lambda: deletions.append(server.records.delete_namespace("notes")))
    server.index()
    server.clock.advance(READER_GRACE_S)
    maintain(server)

    assert list(server.blobs.files()) == []
    assert receipt(server, deletions[0]).state == "purged"
    assert receipt(server, deletions[0]).rows == 13


def sealed_pieces(server, memory_id) -> list[bytes]:
    """Pieces of what is sealed in the rows of a memory."""
    with server.records.database.read() as connection:
        found = connection.execute(select(memories).where(memories.c.id.in_(server.row_ids(memory_id)))).all()
    columns = [sealed for row in found for sealed in (row.sealed, row.sealed_vectors)]
    return [sealed[at : at + 12] for sealed in columns for at in range(0, len(sealed) - 12, 50)]


def files_with(server, pieces) -> set[str]:
    paths = [path for path in server.runtime.control.root.rglob("*") if path.is_file()]
    return {path.name for path in paths if any(piece in path.read_bytes() for piece in pieces)}


@IN_FILES
def test_erased_bytes_leave_the_log_as_well(server):
    """Pages of before stay in the write-ahead log until it is emptied. SQLite may keep fragments in unused space."""
    fill(server, 60)
    gone = [f"n{number}" for number in range(0, 60, 2)]
    pieces = {memory_id: sealed_pieces(server, memory_id) for memory_id in gone}
    every = [piece for found in pieces.values() for piece in found]
    for memory_id in gone:
        delete(server, memory_id)
    assert "records.db-wal" in files_with(server, every)

    maintain(server)

    assert files_with(server, every) <= {"records.db"}
    data = (server.records.folder / "records.db").read_bytes()
    assert [memory_id for memory_id in gone if all(piece in data for piece in pieces[memory_id])] == []


@IN_FILES
def test_a_reader_that_holds_the_log_back_holds_the_receipt_back(server):
    """It reads what was there before; nobody waits for it."""
    server.write({"id": "x", "content": "Soon gone."}, {"id": "y", "content": "Stays."})
    reading, done = threading.Event(), threading.Event()

    def read() -> None:
        with server.records.database.read() as connection:
            assert connection.execute(select(memories.c.id)).all()
            reading.set()
            done.wait(60)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        reading.wait(60)
        deletion = delete(server, "x")
        assert not server.records.database.checkpoint()
        maintain(server)
        assert (receipt(server, deletion).state, receipt(server, deletion).masked) == ("erased", False)
    finally:
        done.set()
        reader.join()
    maintain(server)
    assert receipt(server, deletion).state == "purged"


def test_the_watch_looks_again_after_a_clock_that_went_back(server):
    server.write({"id": "x", "content": "Soon gone."})
    maintain(server)
    server.clock.advance(-86_400)
    deletion = delete(server, "x")
    server.maintain()
    assert receipt(server, deletion).state == "purged"

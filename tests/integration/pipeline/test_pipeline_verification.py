"""A receipt is believed only as far as the rows, the stored shards, the opened ones and the backups bear it out."""

import shutil
import sys
from pathlib import Path

import pytest
from sqlalchemy import delete as remove
from sqlalchemy import select, update

from cli.main import main
from core.backup.header import Header
from core.errors import NotFound
from core.memory import NewMemory
from core.pipeline.maintenance import READER_GRACE_S
from core.pipeline.verification import verify_deletion
from core.records.deletion import delete_memory
from core.records.members import unpack_ids
from core.records.tables import Lane, memories, shards, store
from core.records.writes import WriteRequest
from core.settings import Storage
from core.shards.sealing import blob_name

PURGE_S = Storage().purge_s
CLEAN = {
    "record store": True,
    "index shards": True,
    "replaced shard files": True,
    "unlisted shard files": True,
    "opened shards": True,
    "copies of before an upgrade": True,
    "backups": True,
}


@pytest.fixture
def filled(server):
    server.write(*({"id": f"n{number}", "content": f"Note {number} about the harbour."} for number in range(12)))
    server.settle()
    server.search("harbour")
    return server


def delete(server, memory_id="n3") -> str:
    return delete_memory(server.records, server.namespace(), memory_id)


def verify(server, deletion, *backups):
    return verify_deletion(server.runtime.control, server.company, server.runtime.cache, deletion, backups)


def purge(server) -> None:
    """Everything until the receipt says purged, well before the deadline."""
    for _ in range(3):
        server.clock.advance(PURGE_S / 4)
        server.maintain()


def broken(found) -> set[str]:
    return {finding.where for finding in found.findings if not finding.holds}


def left(found) -> dict[str, int]:
    return {finding.where: finding.until for finding in found.findings if finding.until is not None}


def blob(server, shard) -> Path:
    return server.records.folder / "shards" / blob_name(server.namespace().public_id, shard.public_id)


def test_what_a_receipt_states_is_found_at_every_stage(filled):
    deletion = delete(filled)
    found = verify(filled, deletion)
    assert (found.holds, found.receipt.state) == (True, "erased")
    assert left(found) == dict.fromkeys(["index shards", "opened shards"], found.receipt.purge_due_at)

    filled.clock.advance(PURGE_S / 2)
    filled.maintain()
    found = verify(filled, deletion)
    assert found.holds
    assert set(left(found)) == {"replaced shard files", "opened shards"}

    filled.clock.advance(READER_GRACE_S)
    filled.maintain()
    found = verify(filled, deletion)
    assert (found.receipt.state, left(found)) == ("purged", {})
    assert {finding.where: finding.holds for finding in found.findings} == CLEAN


def test_a_deadline_that_passed_without_a_purge_is_a_broken_word(filled):
    deletion = delete(filled)
    filled.clock.advance(PURGE_S)
    assert verify(filled, deletion).holds
    filled.clock.advance(1)
    found = verify(filled, deletion)
    assert broken(found) == {"index shards", "opened shards"}
    assert not found.holds


def test_an_old_shard_put_back_beside_the_others_is_found(filled, tmp_path):
    [shard] = filled.shards()
    shutil.copy(blob(filled, shard), tmp_path / "old")
    deletion = delete(filled)
    purge(filled)
    assert verify(filled, deletion).holds

    shutil.copy(tmp_path / "old", blob(filled, shard))

    found = verify(filled, deletion)
    assert broken(found) == {"unlisted shard files"}
    [finding] = [finding for finding in found.findings if not finding.holds]
    assert "1 hold rows of it" in finding.detail


def test_an_old_shard_put_back_in_place_of_a_live_one_is_found(filled, tmp_path):
    """It does not open under another name, so nobody can say that the row is not in it."""
    [shard] = filled.shards()
    shutil.copy(blob(filled, shard), tmp_path / "old")
    deletion = delete(filled)
    purge(filled)
    [live] = filled.shards()
    shutil.copy(tmp_path / "old", blob(filled, live))

    found = verify(filled, deletion)

    assert broken(found) == {"index shards"}
    assert "1 cannot be opened" in found.findings[1].detail


def test_an_opened_shard_left_in_memory_is_found(filled):
    [shard] = filled.shards()
    opened = filled.runtime.cache.root / "shards" / shard.public_id
    kept = opened.parent.parent / "kept"
    shutil.copytree(opened, kept)
    deletion = delete(filled)
    purge(filled)
    kept.rename(opened)

    assert broken(verify(filled, deletion)) == {"opened shards"}


def test_shards_of_another_company_do_not_count(filled):
    """Their rows have the same numbers as ours."""
    rival = filled.runtime.tenant(filled.runtime.control.create_company("rival").id)
    items = [NewMemory(content=f"Their note {number}.") for number in range(12)]
    request = WriteRequest(rival.records.ensure_namespace("theirs"), items, Lane.INTERACTIVE)
    rival.committer.submit(request).result(timeout=60)
    filled.runtime.embed(rival.records.company, Lane.INTERACTIVE)
    filled.runtime.index(rival.records.company)
    with rival.records.database.read() as connection:
        [theirs] = connection.execute(select(shards)).all()
    deletion = delete(filled)
    purge(filled)

    assert filled.row_ids("n3")[0] in unpack_ids(theirs.members)
    assert (filled.runtime.cache.root / "shards" / theirs.public_id).is_dir()
    assert verify(filled, deletion).holds


@pytest.mark.parametrize(
    "tampered",
    [
        {"sealed": b"put back"},
        {"sealed_vectors": b"put back"},
        {"session": b"put back"},
        {"state": "indexed"},
        {"deletion_id": None},
    ],
    ids=lambda tampered: next(iter(tampered)),
)
def test_a_row_that_was_put_back_is_found(filled, tampered):
    deletion = delete(filled)
    with filled.records.database.write() as connection:
        connection.execute(update(memories).where(memories.c.id.in_(filled.row_ids("n3"))).values(**tampered))
    assert broken(verify(filled, deletion)) == {"record store"}


def test_a_row_that_is_missing_is_found(filled):
    deletion = delete(filled)
    with filled.records.database.write() as connection:
        connection.execute(remove(memories).where(memories.c.id.in_(filled.row_ids("n3"))))
    assert "record store" in broken(verify(filled, deletion))


def test_a_destroyed_namespace_is_checked_without_its_key(filled):
    deletion = filled.records.delete_namespace("notes")
    found = verify(filled, deletion)
    assert found.holds
    assert "1 cannot be opened: the key is destroyed" in found.findings[2].detail
    purge(filled)
    found = verify(filled, deletion)
    assert (found.receipt.state, found.holds, left(found)) == ("purged", True, {})


def test_backups_are_judged_by_when_they_were_made(filled, tmp_path):
    with filled.runtime.control.database.read() as connection:
        ours = connection.execute(select(store.c.id)).scalar_one()

    def backup(name, of=ours) -> Path:
        header = Header(name, filled.clock(), of, filled.runtime.control.master.key_id, 1, b"wrapped")
        (tmp_path / name).write_bytes(header.to_bytes())
        return tmp_path / name

    paths = [backup("before"), backup("foreign", of="store_other")]
    filled.clock.advance(1)
    deletion = delete(filled)
    filled.clock.advance(1)
    paths.append(backup("between"))
    purge(filled)
    filled.clock.advance(1)
    paths.append(backup("after"))

    details = {finding.where: finding.detail for finding in verify(filled, deletion, *paths).findings[5:]}

    assert details["backup before"].startswith("made before: may hold it")
    assert filled.runtime.control.master.key_id in details["backup before"]
    assert details["backup foreign"] == "of another server"
    assert details["backup between"].startswith("made before its shards were purged")
    assert details["backup after"].startswith("made after")


def test_a_deletion_that_nobody_knows_is_not_found(filled):
    with pytest.raises(NotFound):
        verify(filled, "del_unknown")


def test_the_command_says_it_with_its_exit_status(filled, tmp_path, monkeypatch, capsys):
    [shard] = filled.shards()
    shutil.copy(blob(filled, shard), tmp_path / "old")
    deletion = delete(filled)
    purge(filled)
    monkeypatch.chdir(tmp_path)

    def run(*arguments) -> tuple[int, str]:
        words = ["ostraka", "verify-deleted", *arguments, "--data", str(filled.runtime.control.root)]
        monkeypatch.setattr(sys, "argv", words)
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code, capsys.readouterr().out

    status, out = run(deletion)
    assert (status, "purged" in out, "NO" in out) == (0, True, False)
    shutil.copy(tmp_path / "old", blob(filled, shard))
    status, out = run(deletion)
    assert (status, "NO" in out) == (1, True)
    assert run("del_unknown")[0] == 2
    assert run(deletion, "--company", "nobody")[0] == 2

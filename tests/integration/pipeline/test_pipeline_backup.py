"""Backing up a server that works, and restoring: the restored one answers as the original did."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import func, select

from core.backup.creating import open_backup
from core.backup.restoring import restore_directory, verify
from core.backup.rewriting import Rewritten, rewrite, unpacked
from core.backup.shelf import look_through, pick
from core.clock import to_datetime
from core.errors import Conflict, NotFound
from core.pipeline.maintenance import collect_garbage
from core.records.reading import get_history, get_memory
from core.records.tables import State, jobs, memories
from core.settings import load_settings
from tests.backups import back_up, opened, records_of
from tests.integration.pipeline.notes import NOTES, answers


@pytest.fixture
def filled(server):
    server.write(*NOTES)
    server.settle()
    server.write({"id": "tea", "content": "Bo drinks black tea now."}, {"content": "Nobody asked for this."})
    server.settle()
    server.write({"id": "gone", "content": "Bo is allergic to peanuts."}, namespace="notes")
    server.settle()
    server.delete("gone")
    server.write({"content": "A lighthouse stands elsewhere."}, namespace="other")
    server.settle()
    return server


@pytest.fixture
def restored(open_server, tmp_path) -> Callable[[bytes], Any]:
    """Restore a backup into a directory of its own and start a server on it."""

    def start(backup: bytes, master, name: str = "restored") -> Any:
        restore_directory(opened(backup, master), tmp_path / name)
        return open_server(load_settings(None, {"storage": {"path": tmp_path / name}}))

    return start


def test_a_restored_server_answers_as_the_original(filled, restored):
    copy = restored(back_up(filled.runtime.control), filled.runtime.control.master)
    assert answers(copy) == answers(filled)
    assert copy.states() == filled.states()
    copy.check()
    versions = [(each.content, each.version, each.created_at) for each in history(filled, "tea")]
    assert [(each.content, each.version, each.created_at) for each in history(copy, "tea")] == versions
    assert len(versions) == 2


def history(server: Any, memory_id: str) -> list[Any]:
    return get_history(server.records, server.namespace(), memory_id)


def test_a_restored_server_goes_on(filled, restored):
    filled.write({"id": "late", "content": "Written, and not yet embedded: the ferry is late."})
    copy = restored(back_up(filled.runtime.control), filled.runtime.control.master)
    copy.settle()
    assert copy.ids("ferry")[0] == "late"
    copy.write({"id": "more", "content": "After the restore came a tram."})
    copy.settle()
    copy.maintain()
    assert copy.ids("tram", mode="text") == ["more"]
    copy.check()


def test_what_is_deleted_before_a_backup_is_not_in_it(filled, restored):
    copy = restored(back_up(filled.runtime.control), filled.runtime.control.master)
    assert "gone" not in copy.ids("peanuts", limit=50)
    with pytest.raises(NotFound):
        get_memory(copy.records, copy.namespace(), "gone")


def test_shards_are_kept_while_they_are_copied(filled, clock):
    """The live shards are replaced and collected while the backup is sent: it has those of its own moment."""
    before = {shard.public_id for shard in filled.shards()}
    with open_backup(filled.runtime.control) as made:
        chunks = made.chunks()
        sent = [next(chunks)]
        filled.write({"id": "new", "content": "A new tail replaces the old one."})
        filled.settle()
        assert not before & {shard.public_id for shard in filled.shards()}
        for chunk in chunks:
            sent.append(chunk)
            clock.advance(600)  # in all, longer than a lease lasts
            assert collect_garbage(filled.records, filled.tenant.index) == 0
    assert len(sent) > 10
    verify(opened(b"".join(sent), filled.runtime.control.master))
    assert collect_garbage(filled.records, filled.tenant.index) >= len(before)


def test_a_backup_that_died_holds_up_the_collector_for_a_while_only(filled, clock):
    made = open_backup(filled.runtime.control)
    made.__enter__()
    filled.write({"id": "new", "content": "A new tail replaces the old one."})
    filled.settle()
    clock.advance(3_599)
    assert collect_garbage(filled.records, filled.tenant.index) == 0
    clock.advance(2)
    assert collect_garbage(filled.records, filled.tenant.index) > 0
    made.__exit__(None, None, None)


# --- into a store that is in use ----------------------------------------------------------------------


def restore_into(server: Any, backup: bytes, names: dict[str, str], company: str = "default", **more: Any) -> Rewritten:
    control = server.runtime.control
    reader = opened(backup, control.master)
    with unpacked(reader, control) as saved:
        return rewrite(
            records_of(saved),
            records_of(control, company),
            names,
            backup=reader.header.backup,
            fingerprint=more.get("fingerprint", server.runtime.embedder.fingerprint),
            on_written=more.get("on_written", lambda _: None),
        )


def balanced(server: Any) -> None:
    """Every accepted memory is a row."""
    with server.records.database.read() as connection:
        accepted = connection.execute(select(func.sum(jobs.c.accepted))).scalar_one()
        assert accepted == connection.execute(select(func.count()).select_from(memories)).scalar_one()


def test_memories_come_back_under_another_name_and_answer_the_same(filled):
    original = answers(filled)
    done = restore_into(filled, back_up(filled.runtime.control), {"notes": "copy"})
    assert done == Rewritten(memories=7, vectors_kept=7)
    assert filled.states("copy")[State.EMBEDDED] == 7
    filled.clock.advance(11)  # bulk rows wait for more of their kind
    filled.index()
    assert [set(map(identity, hits)) for hits in answers(filled, "copy")] == [
        set(map(identity, hits)) for hits in original
    ]
    assert filled.ids("what is the pet's name", namespace="copy")[0] == "cat"
    balanced(filled)
    filled.check("copy")


def identity(hit: Any) -> str:
    return hit[0] if isinstance(hit, tuple) else hit


def test_what_is_written_anew_is_what_it_was(filled):
    backup = back_up(filled.runtime.control)
    filled.clock.advance(3_600)
    restore_into(filled, backup, {"notes": "copy"})
    for memory_id in ("cat", "train", "error", "tea", "soon"):
        old = get_memory(filled.records, filled.namespace(), memory_id)
        new = get_memory(filled.records, filled.namespace("copy"), memory_id)
        for field in (
            "content",
            "metadata",
            "session",
            "tags",
            "importance",
            "occurred_at",
            "created_at",
            "expires_at",
        ):
            assert getattr(new, field) == getattr(old, field), field
        assert new.version == 1


def test_only_what_was_present_comes_back(filled):
    backup = back_up(filled.runtime.control)
    filled.clock.advance(86_401)
    restore_into(filled, backup, {"notes": "copy"})
    for memory_id in ("gone", "soon"):
        with pytest.raises(NotFound):
            get_memory(filled.records, filled.namespace("copy"), memory_id)
    assert [each.content for each in get_history(filled.records, filled.namespace("copy"), "tea")] == [
        "Bo drinks black tea now."
    ]


def test_memories_come_back_into_another_company(filled):
    control = filled.runtime.control
    control.create_company("other")
    done = restore_into(filled, back_up(control), {"notes": "notes", "other": "other"}, company="other")
    assert done.memories == 8
    target = records_of(control, "other")
    assert get_memory(target, target.namespace("notes"), "cat").content == NOTES[0]["content"]
    assert target.namespace("notes").key.newest.secret != filled.namespace().key.newest.secret


def test_with_another_model_they_are_embedded_anew(filled):
    backup = back_up(filled.runtime.control)
    filled.clock.advance(60)
    assert restore_into(filled, backup, {"notes": "copy"}, fingerprint="another").vectors_kept == 0
    assert filled.states("copy")[State.PENDING] == 7
    created = get_memory(filled.records, filled.namespace("copy"), "cat").created_at
    assert created == to_datetime(filled.clock())
    filled.embed()
    filled.clock.advance(11)
    filled.index()
    assert filled.ids("what is the pet's name", namespace="copy")[0] == "cat"


def test_a_namespace_that_is_there_is_not_written_to(filled):
    backup = back_up(filled.runtime.control)
    with pytest.raises(Conflict, match="exists"):
        restore_into(filled, backup, {"other": "fresh", "notes": "notes"})
    assert "fresh" not in {each.name for each in filled.records.namespaces()}
    with pytest.raises(NotFound):
        restore_into(filled, backup, {"unknown": "fresh"})


def test_a_restore_that_was_cut_off_goes_on_where_it_was(filled, monkeypatch):
    backup = back_up(filled.runtime.control)
    monkeypatch.setattr("core.backup.rewriting._PAGE_ROWS", 3)

    def cut_off(_: int) -> None:
        raise ConnectionError("killed")

    with pytest.raises(ConnectionError):
        restore_into(filled, backup, {"notes": "copy"}, on_written=cut_off)
    assert sum(filled.states("copy").values()) == 3
    assert restore_into(filled, backup, {"notes": "copy"}) == Rewritten(4, 4)
    assert restore_into(filled, backup, {"notes": "copy"}) == Rewritten(0, 0)
    assert sum(filled.states("copy").values()) == 7
    balanced(filled)


def test_what_was_deleted_after_a_restore_does_not_come_back_with_its_repetition(filled):
    backup = back_up(filled.runtime.control)
    restore_into(filled, backup, {"notes": "copy"})
    filled.delete("cat", namespace="copy")
    restore_into(filled, backup, {"notes": "copy"})
    with pytest.raises(NotFound):
        get_memory(filled.records, filled.namespace("copy"), "cat")


# --- a folder of backups ------------------------------------------------------------------------------


def test_the_backup_with_the_newest_generation_up_to_the_one_chosen_is_found(filled, tmp_path):
    control = filled.runtime.control
    generations = []
    for number in range(3):
        filled.write(f"Note number {number}.")
        filled.settle()
        filled.clock.advance(1)
        backup = back_up(control)
        (tmp_path / f"{number}.ostraka").write_bytes(backup)
        [company] = opened(backup, control.master).manifest.companies
        generations.append(next(each.generation for each in company.namespaces if each.name == "notes"))
    (tmp_path / "noise.ostraka").write_bytes(b"noise")
    shelf = look_through(tmp_path, lambda _: control.master)
    assert [each.path.name for each in shelf] == ["0.ostraka", "1.ostraka", "2.ostraka"]
    chosen = [pick(shelf, "default", "notes", generation).path.name for generation in generations]
    assert chosen == ["0.ostraka", "1.ostraka", "2.ostraka"]
    assert pick(shelf, "default", "notes", generations[-1] + 100).path.name == "2.ostraka"
    for company, namespace, generation in (("default", "notes", 0), ("default", "x", 9), ("x", "notes", 9)):
        with pytest.raises(NotFound):
            pick(shelf, company, namespace, generation)

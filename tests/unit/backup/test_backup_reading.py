"""What a backup is made of, and that it is believed only where all of it fits together."""

import io
import re
import shutil

import pytest

from core.backup import snapshot
from core.backup.header import read_header
from core.backup.restoring import restore_directory, verify
from core.crypto.keys import MasterKey
from core.errors import Conflict, Frozen, IntegrityError, NotFound, Unavailable, WrongKey
from core.records.company import CompanyRecords
from core.records.control import ControlStore, open_control
from core.records.frozen import Freeze, Phase
from core.records.leases import take_lease
from core.records.lifecycle import destroy_company
from core.settings import load_settings
from tests.backups import SHARD, back_up, back_up_falsely, files_below, list_shard, opened, records_of, remember

OTHER_KEY = MasterKey(bytes(32))


@pytest.fixture
def filled(control):
    """Two companies, three namespaces, a shard."""
    control.create_company("other")
    remember(records_of(control), "notes", "one", "two", "three")
    remember(records_of(control), "plans", "four")
    remember(records_of(control, "other"), "notes", "five")
    list_shard(records_of(control), "notes")
    return control


def test_its_head_says_whose_it_is_and_which_key_it_needs(filled):
    backup = back_up(filled)
    header, _ = read_header(io.BytesIO(backup))
    assert header.master_key == filled.master.key_id
    assert header.companies == 2
    assert header.backup.startswith("backup_")
    assert filled.master.secret not in backup


def test_it_is_whole_and_as_long_as_it_said(filled):
    from core.backup.creating import open_backup

    with open_backup(filled) as made:
        backup = b"".join(made.chunks())
        assert len(backup) == made.size
    verify(opened(backup, filled.master))


def test_the_manifest_tells_what_is_there(filled):
    manifest = opened(back_up(filled), filled.master).manifest
    told = {(each.name, ns.name): (ns.rows, ns.memories) for each in manifest.companies for ns in each.namespaces}
    assert told == {("default", "notes"): (3, 3), ("default", "plans"): (1, 1), ("other", "notes"): (1, 1)}
    assert [shard.bytes for each in manifest.companies for shard in each.shards] == [len(SHARD)]


def test_without_its_key_it_is_useless_and_says_which_one_it_needs(filled):
    with pytest.raises(WrongKey, match=filled.master.key_id):
        opened(back_up(filled), OTHER_KEY)


def test_one_company_can_be_backed_up_alone(filled):
    other = filled.find_company("other").id
    backup = back_up(filled, other)
    reader = opened(backup, filled.master)
    assert [each.id for each in reader.manifest.companies] == [other]
    verify(reader)


def test_a_company_backed_up_alone_says_nothing_of_the_others(filled, tmp_path):
    other = filled.find_company("other").id
    restore_directory(opened(back_up(filled, other), filled.master), tmp_path / "alone")
    default = filled.find_company("default").id
    for name in files_below(tmp_path / "alone"):
        assert default.encode() not in (tmp_path / "alone" / name).read_bytes()


@pytest.mark.parametrize(
    ("told", "false", "complaint"),
    [
        ('"rows":3', '"rows":4', "other memories"),
        ('"memories":3', '"memories":2', "other memories"),
        ('"generation":0', '"generation":9', "other memories"),
        (r'\{"namespace":"ns_\w+","id":"sh_\w+","bytes":10240\}', "", "lacks shards"),
    ],
)
def test_a_manifest_that_does_not_tell_the_truth_is_noticed(filled, told, false, complaint):
    backup = back_up_falsely(filled, lambda text: re.sub(told, false, text, count=1))
    with pytest.raises(IntegrityError, match=complaint):
        verify(opened(backup, filled.master))


def test_a_shard_that_is_missing_or_cut_is_left_to_be_built_anew(filled, tmp_path):
    lost, cut = (list_shard(records_of(filled), "plans", stored=stored) for stored in (None, SHARD[:-1]))
    backup = back_up(filled)
    reader = opened(backup, filled.master)
    saved = {shard.id: shard.bytes for each in reader.manifest.companies for shard in each.shards}
    assert (saved.pop(lost), saved.pop(cut)) == (None, None)
    assert list(saved.values()) == [len(SHARD)]
    verify(reader)
    restore_directory(opened(backup, filled.master), tmp_path / "restored")
    assert sum(name.endswith(".shard") for name in files_below(tmp_path / "restored")) == 1


def test_a_restored_directory_holds_the_same_files(filled, tmp_path):
    restore_directory(opened(back_up(filled), filled.master), tmp_path / "restored")
    kept = {name for name in files_below(filled.root) if name.endswith((".db", ".shard"))}
    assert files_below(tmp_path / "restored") == kept
    for name in kept:
        if name.endswith(".shard"):
            assert (tmp_path / "restored" / name).read_bytes() == (filled.root / name).read_bytes()


def test_a_restored_directory_is_private(filled, tmp_path):
    restore_directory(opened(back_up(filled), filled.master), tmp_path / "restored")
    for path in [tmp_path / "restored", *(tmp_path / "restored").rglob("*")]:
        assert path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("there", ["a file", "a file in it"])
def test_a_directory_that_is_not_empty_is_left_alone(filled, tmp_path, there):
    target = tmp_path / "taken"
    mine = target if there == "a file" else target / "mine"
    mine.parent.mkdir(exist_ok=True)
    mine.write_text("mine")
    with pytest.raises(Conflict, match="not an empty directory"):
        restore_directory(opened(back_up(filled), filled.master), target)
    assert mine.read_text() == "mine"


def test_an_empty_directory_is_taken(filled, tmp_path):
    (tmp_path / "empty").mkdir()
    restore_directory(opened(back_up(filled), filled.master), tmp_path / "empty")
    assert "control.db" in files_below(tmp_path / "empty")


def test_a_failed_restore_leaves_nothing(filled, tmp_path):
    backup = bytearray(back_up(filled))
    backup[-40] ^= 1
    (tmp_path / "here").mkdir()
    with pytest.raises(IntegrityError):
        restore_directory(opened(bytes(backup), filled.master), tmp_path / "here" / "data")
    assert list((tmp_path / "here").iterdir()) == []


def test_leases_of_the_moment_are_not_restored(filled, tmp_path, monkeypatch):
    records = records_of(filled)
    with records.database.write() as connection:
        assert take_lease(connection, "flush-1", now=records.clock(), lease_us=10**12)
    target = tmp_path / "restored"
    restore_directory(opened(back_up(filled), filled.master), target)
    again = open_control(load_settings(None, {"storage": {"path": target, "key_file": _key_file(filled, tmp_path)}}))
    try:
        restored = records_of(again)
        with restored.database.write() as connection:
            assert take_lease(connection, "flush-1", now=restored.clock(), lease_us=1)
    finally:
        again.close()


def _key_file(control, folder):
    import base64

    path = folder / "key"
    path.touch(mode=0o600)
    path.write_bytes(base64.b64encode(control.master.secret))
    return path


def test_a_frozen_server_is_not_backed_up(filled):
    for records in (records_of(filled), records_of(filled, "other")):
        records.database.set_freeze(Freeze(Phase.FROZEN))
    with pytest.raises(Frozen):
        back_up(filled)


def test_a_freeze_that_takes_hold_meanwhile_ends_a_backup(filled, monkeypatch):
    from core.backup.creating import open_backup

    with open_backup(filled) as made:
        chunks = made.chunks()
        next(chunks)
        records = records_of(filled)
        records.database.set_freeze(Freeze(Phase.FROZEN))
        monkeypatch.setattr(records, "clock", lambda: 2 * 10**15)  # the lease must be renewed
        with pytest.raises(Frozen):
            list(chunks)
        records.database.set_freeze(Freeze())


def test_one_backup_is_made_at_a_time(filled):
    from core.backup.creating import open_backup

    with open_backup(filled), pytest.raises(Unavailable, match="another backup"):
        back_up(filled)
    verify(opened(back_up(filled), filled.master))


def test_nothing_is_left_of_the_copies(filled):
    before = files_below(filled.root)
    back_up(filled)
    assert files_below(filled.root) - before <= {"backup.lock"}
    assert not (filled.root / "backup-work").exists()


def test_what_a_killed_backup_left_goes_with_the_next(filled):
    left = filled.root / "backup-work" / "control.db"
    left.parent.mkdir()
    left.write_bytes(b"left")
    verify(opened(back_up(filled), filled.master))
    assert not left.parent.exists()


def delete(control: ControlStore, records: CompanyRecords) -> None:
    destroy_company(control, records.company)
    control.let_go(records.company)
    shutil.rmtree(records.folder)


@pytest.mark.parametrize("step", ["_Lease", "_copy_company", "_refuse_rotated"])
def test_a_company_that_is_deleted_while_a_backup_begins_is_left_out(filled, monkeypatch, step):
    other = records_of(filled, "other")
    real = getattr(snapshot, step)

    def delete_first(*given):
        if other in given or other.company in given:
            delete(filled, other)
        return real(*given)

    monkeypatch.setattr(snapshot, step, delete_first)
    backup = opened(back_up(filled), filled.master)
    assert [each.name for each in backup.manifest.companies] == ["default"]
    verify(backup)


def test_a_company_that_is_deleted_after_the_control_store_was_copied_is_in_no_backup(filled, monkeypatch):
    others = [records_of(filled, "other"), filled.records(filled.create_company("third").id)]
    real = snapshot.copy_to_file

    def copy_then_delete(source, target):
        real(source, target)
        if target.name == "control.db":
            delete(filled, others.pop(0))

    monkeypatch.setattr(snapshot, "copy_to_file", copy_then_delete)
    assert {each.name for each in opened(back_up(filled), filled.master).manifest.companies} == {"default", "third"}
    with pytest.raises(NotFound):
        back_up(filled, others[0].company)

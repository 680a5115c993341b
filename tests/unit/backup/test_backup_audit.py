"""The audit log in backups: all of it in one of everything, nothing of it in one of a company."""

from core.audit.events import Event
from core.audit.verification import verify_log
from core.backup.restoring import restore_directory
from core.records.control import open_control
from core.settings import load_settings
from tests.backups import back_up, files_below, opened, records_of, remember

EVENT = Event("key_a", "memory.add")


def restored(control, folder, company=None):
    restore_directory(opened(back_up(control, company), control.master), folder)
    return folder


def reopened(folder):
    return open_control(load_settings(None, {"storage": {"path": folder}}))


def test_a_restored_store_has_its_log_and_goes_on_with_it(control, tmp_path):
    control.audit.append([EVENT] * 3)
    again = reopened(restored(control, tmp_path / "restored"))
    assert verify_log(again.audit).entries == 3
    again.audit.append([EVENT])
    verdict = verify_log(again.audit)
    assert (verdict.faults, verdict.last) == ([], 4)
    again.close()


def test_entries_written_while_a_backup_is_made_leave_it_whole(control, tmp_path, monkeypatch):
    """The control store is copied first: the log reaches the head that is in it."""
    from core.backup import snapshot

    copy = snapshot.copy_to_file

    def copy_and_go_on(source, target) -> None:
        copy(source, target)
        control.audit.append([EVENT])

    monkeypatch.setattr(snapshot, "copy_to_file", copy_and_go_on)
    folder = restored(control, tmp_path / "restored")
    again = reopened(folder)
    verdict = verify_log(again.audit)
    assert (verdict.faults, verdict.entries) == ([], 1)
    again.close()


def test_a_backup_of_one_company_has_nothing_of_it_and_begins_another(control, tmp_path):
    remember(records_of(control), "notes", "one")
    control.audit.append([EVENT] * 3)
    folder = restored(control, tmp_path / "restored", control.find_company("default").id)
    assert "audit.db" not in files_below(folder)
    again = reopened(folder)
    again.audit.append([EVENT])
    verdict = verify_log(again.audit)
    assert (verdict.faults, verdict.entries, verdict.last) == ([], 1, 1)
    again.close()

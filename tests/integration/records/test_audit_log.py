"""The audit log on a real store: one chain whoever writes, and what is noticed of a log that was put back."""

import shutil
import subprocess
import sys
import threading

import pytest
from sqlalchemy import delete, update

from core.audit.events import Event
from core.audit.log import AuditLog
from core.audit.verification import verify_log
from core.clock import now_us
from core.errors import IntegrityError
from core.records.audittables import entries
from core.records.control import open_control
from core.records.tables import companies, store

DAY_US = 86_400_000_000
EVENT = Event("key_a", "memory.add", company="co_a")


class Watch:
    """A clock that stands."""

    def __init__(self, now: int) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def audit(control) -> AuditLog:
    return control.audit


def actions(audit: AuditLog, **wanted) -> list[str | None]:
    return [entry.event and entry.event.action for entry in audit.page(limit=1_000, **wanted).entries]


def faults(audit: AuditLog) -> list[int]:
    return [fault.seq for fault in verify_log(audit).faults]


def test_a_log_without_entries_is_whole(audit):
    assert verify_log(audit).holds
    assert actions(audit) == []


def test_entries_are_listed_newest_first_in_pages(audit):
    audit.append([EVENT._replace(action=f"a{number}", company=f"co_{number % 2}") for number in range(7)])
    page = audit.page(limit=3)
    assert [entry.event.action for entry in page.entries] == ["a6", "a5", "a4"]
    rest = audit.page(limit=30, before=page.next_before)
    assert [entry.event.action for entry in rest.entries] == ["a3", "a2", "a1", "a0"]
    assert rest.next_before is None
    assert actions(audit, company="co_1") == ["a5", "a3", "a1"]
    assert actions(audit, action="a4") == ["a4"]
    assert actions(audit, since=now_us() + DAY_US) == []
    assert len(actions(audit, since=now_us() - DAY_US)) == 7


def test_a_page_reads_a_bounded_number_of_entries(audit):
    audit.append([EVENT._replace(action="rare"), *[EVENT] * 4_500])
    page, pages = audit.page(action="rare", limit=10), 1
    while page.next_before is not None and not page.entries:
        page, pages = audit.page(action="rare", limit=10, before=page.next_before), pages + 1
    assert [entry.seq for entry in page.entries] == [1]
    assert pages == 3


@pytest.mark.long_run
def test_a_hundred_thousand_entries_are_verified(audit):
    for _ in range(10):
        audit.append([EVENT] * 10_000)
    verdict = verify_log(audit)
    assert (verdict.holds, verdict.entries, verdict.first, verdict.last) == (True, 100_000, 1, 100_000)
    with audit.database.write() as connection:
        connection.execute(update(entries).where(entries.c.seq == 77_777).values(at=entries.c.at + 1))
    assert faults(audit) == [77_777]


def test_a_log_that_was_cut_is_noticed_and_goes_on_behind_the_gap(audit):
    audit.append([EVENT] * 5)
    with audit.database.write() as connection:
        connection.execute(delete(entries).where(entries.c.seq > 3))
    assert [(fault.seq, fault.what) for fault in verify_log(audit).faults] == [
        (4, "missing, up to entry 5: the log was cut, or an older one put back")
    ]
    audit.append([EVENT])
    assert [(fault.seq, fault.what) for fault in verify_log(audit).faults] == [(4, "missing, up to entry 5")]


def test_a_log_that_is_gone_is_missed(control, server_settings):
    control.audit.append([EVENT] * 3)
    control.close()
    for path in control.root.glob("audit.db*"):
        path.unlink()
    again = open_control(server_settings)
    again.audit.append([EVENT])
    assert faults(again.audit) == [1]
    assert [entry.seq for entry in again.audit.page(limit=9).entries] == [4]
    again.close()


def test_an_older_log_put_back_is_noticed(control, server_settings, tmp_path):
    control.audit.append([EVENT] * 2)
    control.audit.database.settle()
    shutil.copy(control.place.path("audit"), tmp_path / "older.db")
    control.audit.append([EVENT] * 2)
    control.close()
    for path in control.root.glob("audit.db*"):
        path.unlink()
    shutil.copy(tmp_path / "older.db", control.place.path("audit"))
    again = open_control(server_settings)
    assert faults(again.audit) == [3]
    again.close()


def test_a_crash_before_the_head_was_noted_loses_nothing(audit, monkeypatch):
    audit.append([EVENT])
    with monkeypatch.context() as patch:
        patch.setattr(audit, "advance_head", lambda: None)
        audit.append([EVENT] * 2)
    assert audit.head().seq == 1
    assert verify_log(audit).holds
    audit.append([EVENT])
    assert audit.head().seq == 4
    assert verify_log(audit).entries == 4


def test_a_head_or_key_that_was_taken_away_is_refused(control, server_settings):
    control.audit.append([EVENT])
    with control.database.write() as connection:
        connection.execute(update(store).values(sealed_audit=None))
    with pytest.raises(IntegrityError, match="no longer says"):
        verify_log(control.audit)
    with control.database.write() as connection:
        connection.execute(update(store).values(sealed_audit_key=None))
    again = open_control(server_settings)
    for use in (lambda: verify_log(again.audit), lambda: again.audit.append([EVENT])):
        with pytest.raises(IntegrityError, match="no longer has the key"):
            use()
    again.close()


@pytest.mark.parametrize("value", [None, b""])
def test_nobody_begins_another_log_by_taking_this_one_away(control, server_settings, value):
    control.audit.append([EVENT])
    with control.database.write() as connection:
        connection.execute(update(store).values(sealed_audit_key=value, sealed_audit=value))
        connection.execute(update(companies).values(sealed_terms=b"", sealed_roll=b""))  # as an earlier version left it
    control.close()
    for path in control.root.glob("audit.db*"):
        path.unlink()
    for _ in range(2):  # the first start may not bring it about either
        again = open_control(server_settings)
        with pytest.raises(IntegrityError, match="no longer has the key"):
            verify_log(again.audit)
        with pytest.raises(IntegrityError, match="no longer has the key"):
            again.audit.append([EVENT])
        again.close()


def test_a_store_of_an_earlier_version_has_a_key_of_its_log_from_its_next_start_on(control, server_settings):
    with control.database.write() as connection:
        connection.execute(update(store).values(sealed_audit_key=None, sealed_audit=None))
        name = control.master.seal(b"default", "company", control.company_ids()[0])
        connection.execute(update(companies).values(sealed_terms=b"", sealed_roll=b"", sealed_name=name))
    control.close()
    again = open_control(server_settings)
    with again.database.read() as connection:
        assert connection.execute(store.select()).one().sealed_audit_key
    again.audit.append([EVENT])
    assert verify_log(again.audit).entries == 1
    again.close()


def test_old_entries_leave_by_whole_days_and_the_rest_verifies(control):
    midnight = now_us() // DAY_US * DAY_US
    watch = Watch(midnight)
    control.clock, log = watch, control.audit
    for days_ago in (2.5, 1.5, 0.5):
        watch.now = midnight - int(days_ago * DAY_US)
        log.append([EVENT])
        log.append([EVENT] * 2)
    watch.now = midnight + DAY_US // 2
    assert log.prune(0, watch.now) == 0
    assert log.prune(2, watch.now) == 3
    assert log.prune(2, watch.now) == 0
    verdict = verify_log(log)
    assert (verdict.holds, verdict.first, verdict.last, verdict.entries) == (True, 4, 9, 6)
    with log.database.write() as connection:
        connection.execute(delete(entries).where(entries.c.seq == 4))
    assert faults(log) == [4]
    assert log.prune(1, watch.now) == 2
    assert faults(log) == []
    log.append([EVENT])
    assert verify_log(log).last == 10


def test_one_day_leaves_at_a_time(control):
    midnight = now_us() // DAY_US * DAY_US
    watch = Watch(midnight)
    control.clock, log = watch, control.audit
    for day in (0, 1, 7):
        watch.now = midnight + day * DAY_US
        log.append([EVENT] * 2)
    assert [log.prune(2, midnight + 1_000 * DAY_US) for _ in range(4)] == [2, 2, 2, 0]


def test_a_clock_that_was_set_back_hides_nothing(control):
    control.clock, log = iter([100, 300, 200, 400]).__next__, control.audit
    for number in range(1, 5):
        log.append([EVENT._replace(action=f"a{number}")])
    assert actions(log, since=200) == ["a4", "a3", "a2"]
    assert actions(log, since=250) == ["a4", "a2"]
    assert actions(log, since=401) == []


def test_processes_that_write_at_once_make_one_chain(control, tmp_path):
    """One in this process from threads, two others beside it."""
    code = (
        "import sys; from pathlib import Path; from core.audit.events import Event\n"
        "from core.records.control import open_control; from core.settings import load_settings\n"
        "control = open_control(load_settings(None, {'storage': {'path': Path(sys.argv[1])}}))\n"
        "for _ in range(40): control.audit.append([Event(sys.argv[2], 'test')])\n"
        "control.close()\n"
    )
    others = [subprocess.Popen([sys.executable, "-c", code, str(control.root), name]) for name in ("key_b", "key_c")]
    threads = [threading.Thread(target=lambda: [control.audit.append([EVENT]) for _ in range(40)]) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [other.wait(120) for other in others] == [0, 0]
    verdict = verify_log(control.audit)
    assert (verdict.faults, verdict.entries, control.audit.head().seq) == ([], 160, 160)
    wrote = {entry.event.actor for entry in control.audit.page(limit=500).entries}
    assert wrote == {"key_a", "key_b", "key_c"}


def test_the_log_rests_sealed(control):
    canary = "opossum"
    control.audit.append([Event("key_canary", f"act.{canary}", target=canary, address="203.0.113.77")])
    control.audit.database.settle()
    written = control.place.path("audit").read_bytes()
    for text in (canary, "key_canary", "203.0.113.77"):
        assert text.encode() not in written

"""The auditor of a process on a real store: what it counts and writes, and when it cannot."""

import pytest

from core.audit.auditor import Auditor
from core.audit.events import LOST, UNKNOWN, Event
from core.audit.log import AuditLog
from core.audit.verification import verify_log
from core.clock import now_us
from core.errors import Frozen, Unavailable
from core.pipeline.freezing import freeze, unfreeze
from tests.integration.processes import eventually

DAY_US = 86_400_000_000
EVENT = Event("key_a", "memory.add", company="co_a")


@pytest.fixture
def audit(control) -> AuditLog:
    return control.audit


@pytest.fixture
def auditor(control):
    opened = Auditor(control.audit, control.clock, 400)
    yield opened
    opened.close()


def actions(audit: AuditLog) -> list[str]:
    return [entry.event.action for entry in audit.page(limit=1_000).entries]


def test_a_clock_that_jumps_ahead_takes_nothing_away(control):
    now = now_us()
    control.clock = lambda: now
    control.audit.append([EVENT])
    now += 9 * DAY_US
    opened = Auditor(control.audit, control.clock, 5)
    opened.record(EVENT)
    assert opened.prune() == 0  # it may have been down for nine days, or not
    opened.close()
    again = Auditor(control.audit, control.clock, 5)
    assert again.prune() == 1  # somebody started it with that clock, and it wrote by it
    now += 1_000 * DAY_US
    assert again.prune() == 0
    again.close()


def test_counts_are_written_as_one_entry_each(audit, auditor):
    for _ in range(50):
        auditor.count(EVENT)
    for number in range(100):
        auditor.count(Event(UNKNOWN, "memory.add", "refused:unauthenticated", address=f"10.0.0.{number}"))
    assert actions(audit) == []
    auditor.flush()
    found = audit.page(limit=100).entries
    assert len(found) == 18
    assert sum(entry.event.times for entry in found if entry.event.action != LOST) == 50 + 16
    assert (auditor.entries, auditor.lost) == (18, 84)
    auditor.flush()
    assert len(actions(audit)) == 18


def test_closing_writes_what_was_counted(control):
    opened = Auditor(control.audit, control.clock, 400)
    opened.count(EVENT)
    opened.close()
    assert actions(control.audit) == ["memory.add"]


def test_while_frozen_the_log_holds_still_and_catches_up_afterwards(control, auditor):
    auditor.record(EVENT._replace(action="server.freeze", result="begun"))
    freeze(control)
    before = control.place.path("audit").read_bytes()
    for _ in range(3):
        auditor.count(EVENT)
    with pytest.raises(Frozen):
        auditor.flush()
    with pytest.raises(Frozen):
        auditor.record(EVENT)
    auditor.conclude(EVENT._replace(action="server.freeze"))
    assert control.place.path("audit").read_bytes() == before
    assert not control.place.path("audit").with_name("audit.db-wal").stat().st_size
    unfreeze(control)
    auditor.flush()
    found = {
        (entry.event.action, entry.event.result, entry.event.times) for entry in control.audit.page(limit=9).entries
    }
    assert found == {("server.freeze", "begun", 1), ("server.freeze", "ok", 1), ("memory.add", "ok", 3)}
    assert verify_log(control.audit).holds


def test_nothing_is_begun_that_cannot_be_written(control, auditor, monkeypatch):
    def full(**_) -> None:
        raise Unavailable("the disk is full", code="store_unavailable")

    auditor.count(EVENT)
    with monkeypatch.context() as patch:
        patch.setattr(control.audit.database, "write", full)
        for act in (lambda: auditor.record(EVENT), auditor.flush):
            with pytest.raises(Unavailable):
                act()
    auditor.flush()
    assert actions(control.audit) == ["memory.add"]


def test_what_the_system_refuses_is_written_later(control, monkeypatch):
    """A lock on a full or broken file system raises no error of ours."""
    refused = []

    def refuse(*_) -> None:
        refused.append(True)
        raise OSError("no locks available")

    monkeypatch.setattr("core.audit.auditor.PERIOD_S", 0.01)
    again = Auditor(control.audit, control.clock, 400)
    with monkeypatch.context() as patch:
        patch.setattr(control.audit, "append", refuse)
        patch.setattr(control.audit, "prune", refuse)
        again.conclude(EVENT)
        eventually(lambda: len(refused) > 3)  # its own, a flush, a prune, and the thread goes on
    eventually(lambda: again.entries == 1)
    again.close()
    assert actions(control.audit) == ["memory.add"]

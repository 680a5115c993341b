"""The facts that readiness is judged by, found on a real store that is harmed on purpose."""

import base64

import pytest
from sqlalchemy import delete, update

from core.pipeline.freezing import freeze
from core.pipeline.plans import BULK_WAIT_S
from core.pipeline.readiness import Examiner
from core.records.tables import Lane, company_keys, jobs, namespace_keys, shards
from tests.integration.records.conftest import Desk


class Watch:
    """An examiner on a clock of the test's own."""

    def __init__(self, control) -> None:
        self.now = 1_000.0
        self.examiner = Examiner(control, clock=lambda: self.now)

    def after(self, seconds: float):
        self.now += seconds
        return self.examiner.examine()


@pytest.fixture
def desk(control, clock):
    control.clock = clock
    return Desk(control.records(control.companies()[0].id), clock)


@pytest.fixture
def watch(control):
    return Watch(control)


def test_a_sound_store_says_so(watch, desk):
    desk.write("one")
    facts = watch.after(0)
    assert facts.store_answers
    assert facts.keys_fit
    assert facts.free_bytes > 0
    assert (facts.frozen, facts.quarantined, facts.imbalance, facts.has_api_keys) == (False, 0, 0, False)


def test_a_row_that_nobody_takes_up_stands_still(watch, desk):
    desk.write("one", "two")
    desk.write("three", lane=Lane.BULK)
    assert watch.after(0).still_s == {"embed": 0, "embed-bulk": 0}
    assert watch.after(100).still_s == {"embed": 100, "embed-bulk": 100}
    desk.embed(Lane.BULK)
    assert watch.after(100).still_s == {"embed": 200, "index": 0}
    assert watch.after(100).still_s == {"embed": 300, "index": 100 - BULK_WAIT_S}
    desk.flush(desk.namespace())
    assert watch.after(100).still_s == {"embed": 400}


def test_a_backlog_that_shrinks_does_not_stand_still_however_old_it_is(watch, desk):
    desk.write(*(f"note {number}" for number in range(6)), lane=Lane.BULK)
    desk.clock.advance(86_400)
    for _ in range(6):
        token, rows = desk.claim(limit=1, lane=Lane.BULK)
        assert watch.after(100).still_s.get("embed-bulk", 0) == 0
        desk.store(token, rows)
        assert watch.after(100).still_s.get("embed-bulk", 0) == 0


def test_a_jump_of_the_wall_clock_is_no_stall(watch, desk):
    desk.write("one")
    watch.after(0)
    desk.clock.advance(86_400)
    assert watch.after(1).still_s == {"embed": 1}


def test_a_frozen_store_does_not_stand_still(watch, desk, control):
    desk.write("one")
    watch.after(0)
    freeze(control)
    facts = watch.after(1_000)
    assert facts.frozen
    assert facts.still_s == {}


def test_a_refused_shard_is_counted(watch, desk):
    desk.write("one")
    desk.embed()
    desk.flush(desk.namespace())
    with desk.records.database.write() as connection:
        connection.execute(update(shards).values(quarantined_at=1))
    assert watch.after(0).quarantined == 1


def test_an_imbalance_is_found_within_a_minute(watch, desk):
    desk.write("one")
    assert watch.after(0).imbalance == 0
    with desk.records.database.write() as connection:
        connection.execute(update(jobs).values(accepted=5))
    assert watch.after(1).imbalance == 0
    assert watch.after(60).imbalance == 4


def test_a_key_that_is_gone_is_missed_within_a_minute(watch, desk, control):
    desk.write("one")
    desk.write("two", namespace="other")
    desk.records.delete_namespace("other")
    assert watch.after(0).keys_fit
    with desk.records.database.write() as connection:
        connection.execute(delete(namespace_keys))
    assert not watch.after(60).keys_fit


def test_a_company_key_that_was_changed_is_found(watch, desk, control):
    with control.database.write() as connection:
        connection.execute(update(company_keys).values(wrapped=bytes(97)))
    assert not watch.after(0).keys_fit


def test_a_master_key_that_the_next_start_would_not_find_is_missed_now(watch, tmp_path):
    assert watch.after(0).keys_fit
    [key] = (tmp_path / "config" / "ostraka" / "keys").iterdir()
    key.rename(key.with_suffix(".away"))
    assert not watch.after(0).keys_fit
    key.touch(mode=0o600)
    key.write_text(base64.b64encode(bytes(32)).decode())
    assert not watch.after(0).keys_fit
    key.with_suffix(".away").rename(key)
    assert watch.after(0).keys_fit


def test_a_store_that_is_no_database_any_more_does_not_answer(watch, control):
    control.database.engine.dispose()
    for name in ("control.db-wal", "control.db-shm"):
        (control.root / name).unlink(missing_ok=True)
    (control.root / "control.db").write_bytes(b"no database" * 1_000)
    facts = watch.after(0)
    assert not facts.store_answers
    assert facts.free_bytes > 0

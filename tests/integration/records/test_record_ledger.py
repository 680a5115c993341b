"""The ledger: whatever becomes of a row, it is counted once; and counting does not look at every row."""

import pytest
from sqlalchemy import delete, event, update

from core.records.claims import fail_claimed
from core.records.deletion import delete_memory, expire
from core.records.ledger import EXPIRED, PLACES, audit_ledger, read_ledger, total
from core.records.retries import retry_failed
from core.records.tables import Lane, State, jobs, memories


def read(desk):
    """The ledger, once it was seen that both ways of counting agree."""
    with desk.records.database.read() as connection:
        quick = read_ledger(connection)
        assert quick == audit_ledger(connection)
    return quick


def places(desk, name="notes"):
    return {place: rows for place, rows in read(desk)[desk.namespace(name).id].places.items() if rows}


def test_a_store_without_memories_has_an_empty_ledger(desk):
    desk.namespace()
    assert read(desk) == {}
    assert total(read(desk).values()).places == dict.fromkeys(PLACES, 0)


def test_a_row_is_counted_where_it_is_on_its_way(desk):
    desk.write("one", "two", {"content": "three", "id": "x"})
    desk.write({"content": "three again", "id": "x"})
    desk.write("elsewhere", namespace="other", lane=Lane.BULK)
    assert places(desk) == {State.PENDING: 4}

    desk.embed()
    assert places(desk) == {State.EMBEDDED: 4}

    desk.flush(desk.namespace())
    assert places(desk) == {State.INDEXED: 4}
    assert places(desk, "other") == {State.PENDING: 1}
    everything = total(read(desk).values())
    assert (everything.accepted, everything.present, everything.imbalance) == (5, 5, 0)


def test_failed_deleted_and_expired_rows_stay_on_the_books(desk):
    accepted = desk.write("fails", {"content": "goes", "id": "gone"}, {"content": "runs out", "ttl_seconds": 5})
    token, rows = desk.claim()
    with desk.records.database.write() as connection:
        fail_claimed(connection, token, rows[:1], "integrity", desk.clock())
    delete_memory(desk.records, desk.namespace(), "gone")
    desk.clock.advance(6)
    expire(desk.records, 10)
    assert places(desk) == {State.FAILED: 1, State.DELETED: 1, EXPIRED: 1}
    assert read(desk)[desk.namespace().id].present == 1

    with desk.records.database.read() as connection:
        job = connection.execute(jobs.select().where(jobs.c.public_id == accepted.job_id)).one().id
    retry_failed(desk.records, job)
    assert places(desk) == {State.PENDING: 1, State.DELETED: 1, EXPIRED: 1}


def test_a_clock_that_is_put_back_brings_no_expired_row_back(desk):
    desk.write({"content": "runs out", "ttl_seconds": 5})
    desk.clock.advance(6)
    expire(desk.records, 10)
    desk.clock.advance(-86_400)
    assert places(desk) == {EXPIRED: 1}


def test_the_rows_of_a_deleted_namespace_count_as_deleted(desk):
    desk.write("one", {"content": "two", "ttl_seconds": 5}, {"content": "three", "id": "x"})
    delete_memory(desk.records, desk.namespace(), "x")
    desk.clock.advance(6)
    expire(desk.records, 10)
    gone = desk.namespace().id
    desk.records.delete_namespace("notes")
    desk.write("new")

    ledger = read(desk)
    assert {place: rows for place, rows in ledger[gone].places.items() if rows} == {State.DELETED: 2, EXPIRED: 1}
    assert places(desk) == {State.PENDING: 1}
    assert total(ledger.values()).imbalance == 0


@pytest.mark.parametrize(
    ("harm", "imbalance"),
    [
        (delete(memories).where(memories.c.id == 3), 1),
        (update(jobs).values(accepted=jobs.c.accepted - 1), -1),
    ],
)
def test_what_is_lost_or_was_never_accepted_shows(desk, harm, imbalance):
    desk.write("one", "two", "three")
    with desk.records.database.write() as connection:
        connection.execute(harm)
    assert read(desk)[desk.namespace().id].imbalance == imbalance


def test_an_audit_finds_a_row_in_a_state_that_is_none(desk):
    desk.write("one", "two")
    with desk.records.database.write() as connection:
        connection.execute(update(memories).where(memories.c.id == 2).values(state="lost"))
    with desk.records.database.read() as connection:
        assert audit_ledger(connection)[desk.namespace().id].imbalance == 1


@pytest.mark.parametrize("record_store", ["sqlite"], indirect=True)  # its way of showing a plan
def test_counting_goes_through_indexes_that_hold_few_rows_or_narrow_ones(desk):
    desk.write(*(f"note {number}" for number in range(300)))
    asked = []
    with desk.records.database.read() as connection:
        event.listen(connection, "before_cursor_execute", lambda *call: asked.append(call[2:4]))
        read_ledger(connection)
        statements = [(text, values) for text, values in asked if "FROM memories" in text or "JOIN memories" in text]
        plans = [
            [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", values)]
            for text, values in statements
        ]
    steps = [step for plan in plans for step in plan if "memories" in step]
    assert len(steps) == len(plans) == 6
    narrow = ("ix_memories_pending", "ix_memories_embedded", "ix_memories_failed", "ix_memories_expiry", "COVERING")
    assert [step for step in steps if not any(word in step for word in narrow)] == []

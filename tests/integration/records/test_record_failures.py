"""The dead letter: what failed is listed, tried again, or discarded, and nothing else is touched."""

import pytest

from core.errors import NotFound
from core.records.claims import fail_claimed
from core.records.deletion import delete_memory
from core.records.failures import discard_failed, find_failed, list_failures
from core.records.reading import get_history, get_job, get_memory
from core.records.receipts import get_receipt
from core.records.retries import retry_failed, retry_rows
from core.records.shardlist import Absorbed
from core.records.tables import State, memories


@pytest.fixture
def fail(desk):
    """Let everything that is pending fail, in order of acceptance; return the rows."""

    def all_of(reason: str = "attempts_exhausted") -> list[int]:
        token, rows = desk.claim()
        with desk.records.database.write() as connection:
            fail_claimed(connection, token, rows, reason, desk.clock())
        return rows

    return all_of


def listed(desk, namespace: str | None = None, limit: int = 99):
    opened = None if namespace is None else desk.namespace(namespace)
    return list_failures(desk.records, namespace_ids=opened and [opened.id], after=0, limit=limit)[0]


def retry(desk, **chosen) -> int:
    return retry_rows(desk.records, find_failed(desk.records, desk.namespace(), **chosen))


def discard(desk, **chosen):
    return discard_failed(desk.records, desk.namespace(), find_failed(desk.records, desk.namespace(), **chosen))


def test_a_failure_says_what_failed_where_and_why(desk, fail):
    made = desk.clock()
    job = desk.write({"id": "mine", "content": "a"}).job_id
    [row] = fail()

    [failure] = listed(desk)
    assert (failure.row, failure.id, failure.job_id, failure.namespace) == (row, "mine", job, "notes")
    assert (failure.error, failure.attempts, failure.superseded) == ("attempts_exhausted", 1, False)
    assert int(failure.created_at.timestamp() * 1e6) == made
    memory = get_memory(desk.records, desk.namespace(), "mine")
    assert (memory.state, memory.error, memory.content) == ("failed", "attempts_exhausted", "a")


def test_pages_hold_every_failure_once_of_one_namespace_or_of_all(desk, fail):
    for number in range(10):
        desk.write(f"note {number}", namespace="even" if number % 2 == 0 else "odd")
    rows = fail()
    desk.write("one that is on its way", namespace="even")

    for namespace, expected in ((None, rows), ("even", rows[::2]), ("odd", rows[1::2])):
        opened = None if namespace is None else desk.namespace(namespace)
        seen, after = [], 0
        while after is not None:
            page, after = list_failures(desk.records, namespace_ids=opened and [opened.id], after=after, limit=3)
            seen += [failure.row for failure in page]
        assert seen == expected


def test_a_row_that_cannot_be_opened_is_listed_without_its_id_and_can_be_discarded(desk, fail):
    desk.write({"id": "mine", "content": "a"})
    [row] = fail("integrity")
    with desk.records.database.write() as connection:
        connection.execute(memories.update().where(memories.c.id == row).values(sealed=b"rubbish"))

    [failure] = listed(desk)
    assert (failure.row, failure.id, failure.error) == (row, None, "integrity")
    assert discard(desk, rows=[row]).rows == 1
    assert listed(desk) == []


def test_failures_of_a_destroyed_namespace_are_gone(desk, fail):
    desk.write("a", namespace="doomed")
    fail()
    desk.records.delete_namespace("doomed")

    assert listed(desk) == []


def test_retried_memories_go_round_again_from_the_first_attempt(desk, fail):
    job = desk.write("a", "b").job_id
    fail()
    assert get_job(desk.records, job).state == "failed"

    assert retry(desk) == 2
    assert retry(desk) == 0

    view = get_job(desk.records, job)
    assert (view.state, view.failed, view.errors, view.finished_at) == ("pending", 0, [], None)
    assert {(row.attempts, row.error, row.lease) for row in desk.rows(desk.namespace())} == {(0, None, None)}
    desk.embed()
    desk.flush(desk.namespace())
    assert get_job(desk.records, job).state == "indexed"


def test_only_what_is_named_is_tried_again(desk, fail):
    desk.write(*({"id": f"m{number}", "content": "x"} for number in range(6)))
    desk.write({"id": "m0", "content": "x"}, namespace="other")
    rows = fail()

    assert find_failed(desk.records, desk.namespace(), ids=["m1", "nobody"], rows=[rows[3], rows[6], 10**17]) == [
        rows[1],
        rows[3],
    ]
    assert retry(desk, ids=["m1"], rows=[rows[3]]) == 2
    assert retry(desk, ids=["nobody"]) == retry(desk, rows=[rows[6]]) == 0
    assert [failure.row for failure in listed(desk)] == [rows[number] for number in (0, 2, 4, 5, 6)]


def test_retrying_a_job_leaves_the_other_jobs(desk, fail):
    first, second = desk.write("a", "b"), desk.write("c")
    fail()
    with desk.records.database.read() as connection:
        row = connection.execute(memories.select()).first().job_id

    assert retry_failed(desk.records, row) == 2
    assert [get_job(desk.records, each.job_id).state for each in (first, second)] == ["pending", "failed"]


def test_what_has_expired_is_not_tried_again(desk, fail):
    desk.write({"content": "a", "ttl_seconds": 60}, "b")
    fail()
    desk.clock.advance(60)

    assert retry(desk) == 1
    assert [row.state for row in desk.rows(desk.namespace())] == [State.FAILED, State.PENDING]


def test_a_replaced_version_is_tried_again_as_history_only(desk, fail):
    desk.write({"id": "x", "content": "old"})
    [old] = fail()
    desk.clock.advance(1)
    desk.write({"id": "x", "content": "new"})
    desk.embed()
    desk.flush(desk.namespace())
    [failure] = listed(desk)
    assert (failure.id, failure.superseded) == ("x", True)

    assert retry(desk) == 1
    desk.embed()
    desk.flush(desk.namespace(), absorbed=Absorbed(closed=[old]))

    assert get_memory(desk.records, desk.namespace(), "x").content == "new"
    assert [(memory.content, memory.state) for memory in get_history(desk.records, desk.namespace(), "x")] == [
        ("old", "indexed"),
        ("new", "indexed"),
    ]
    assert desk.row(old).closed_by is not None


def test_a_discarded_memory_is_gone_with_all_its_versions_and_there_is_a_receipt(desk, fail):
    desk.write({"id": "x", "content": "old"}, {"id": "y", "content": "other"})
    desk.embed()
    desk.flush(desk.namespace())
    desk.write({"id": "x", "content": "new"})
    job = desk.write("one more").job_id
    fail()

    done = discard(desk, ids=["x"])

    assert done.rows == 1
    [receipt_id] = done.receipts
    with desk.records.database.read() as connection:
        receipt = get_receipt(connection, receipt_id)
    assert (receipt.rows, receipt.state) == (2, "erased")
    with pytest.raises(NotFound):
        get_memory(desk.records, desk.namespace(), "x")
    assert get_memory(desk.records, desk.namespace(), "y").content == "other"
    assert [failure.job_id for failure in listed(desk)] == [job]
    assert discard(desk, ids=["x"]).receipts == []


def test_a_discarded_version_that_was_replaced_leaves_the_others(desk, fail):
    """What it had replaced is replaced by its successor now, so that a search still passes on to that."""
    desk.write({"id": "x", "content": "one"})
    desk.embed()
    desk.flush(desk.namespace())
    desk.write({"id": "x", "content": "two"})
    [two] = fail()
    desk.write({"id": "x", "content": "three"})

    assert discard(desk).rows == 1

    one, _, three = desk.rows(desk.namespace())
    assert desk.row(two).state == State.DELETED
    assert (one.state, one.closed_by, three.state, three.closed_by) == (State.INDEXED, three.id, State.PENDING, None)
    assert [memory.content for memory in get_history(desk.records, desk.namespace(), "x")] == ["one", "three"]


def test_what_does_not_fail_any_more_is_not_discarded(desk, fail):
    """Between the look and the deed, another retried one and deleted the other."""
    desk.write({"id": "x", "content": "x"}, {"id": "y", "content": "y"})
    rows = fail()
    assert find_failed(desk.records, desk.namespace()) == rows
    retry(desk, ids=["x"])
    delete_memory(desk.records, desk.namespace(), "y")

    assert discard_failed(desk.records, desk.namespace(), rows).rows == 0
    assert retry_rows(desk.records, rows) == 0
    assert [row.state for row in desk.rows(desk.namespace())] == [State.PENDING, State.DELETED]


def test_nothing_of_another_namespace_is_discarded(desk, fail):
    desk.write("a", namespace="other")
    rows = fail()

    assert discard_failed(desk.records, desk.namespace(), rows).rows == 0
    assert len(listed(desk, "other")) == 1


def test_many_failures_are_handled_in_bounded_transactions(desk, fail):
    desk.write(*(f"note {number}" for number in range(700)))
    fail()
    assert retry(desk) == 700
    fail()
    done = discard(desk)
    assert (done.rows, len(done.receipts)) == (700, 2)
    assert listed(desk) == []

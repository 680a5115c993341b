"""Since when embedded bulk rows wait, with other workers flushing them too."""

from core.pipeline.bulkwait import BulkWait
from core.records.waiting import Waiting

SECOND = 1_000_000


def rows(oldest: int, namespace: int = 1, bulk: int = 5) -> Waiting:
    return Waiting(namespace, 0, bulk, bulk_coming=True, bulk_oldest=oldest)


def test_they_wait_since_they_were_first_seen():
    wait = BulkWait()
    assert [wait.waited_s([rows(7)], second * SECOND)[1] for second in (10, 15, 40)] == [0, 5, 30]


def test_an_older_row_that_is_embedded_late_changes_nothing():
    wait = BulkWait()
    assert [wait.waited_s([rows(oldest)], second * SECOND)[1] for oldest, second in ((7, 0), (5, 10), (5, 20))] == [
        0,
        10,
        20,
    ]


def test_a_flush_by_any_worker_begins_the_wait_anew():
    wait = BulkWait()
    assert wait.waited_s([rows(7)], 0) == {1: 0}
    assert wait.waited_s([rows(7)], 29 * SECOND) == {1: 29}
    assert wait.waited_s([rows(500)], 31 * SECOND) == {1: 0}
    assert wait.waited_s([rows(500)], 41 * SECOND) == {1: 10}


def test_namespaces_wait_apart_and_are_forgotten_without_rows():
    wait = BulkWait()
    wait.waited_s([rows(7), rows(9, namespace=2)], 0)
    assert wait.waited_s([rows(7, bulk=0), rows(9, namespace=2)], 10 * SECOND) == {1: 0, 2: 10}
    assert wait.waited_s([rows(7), rows(9, namespace=2)], 20 * SECOND) == {1: 0, 2: 20}


def test_a_clock_that_is_set_back_makes_no_wait_longer_than_it_is():
    wait = BulkWait()
    wait.waited_s([rows(7)], 100 * SECOND)
    assert wait.waited_s([rows(7)], 50 * SECOND) == {1: 0}
    assert wait.waited_s([rows(7)], 60 * SECOND) == {1: 10}

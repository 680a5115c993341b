"""Claims: at most one holder for each row, and nothing accepted from a holder that was replaced."""

import multiprocessing
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from claimant import claim_everything
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.records.backlog import lane_loads, oldest_pending_at
from core.records.claims import claim_pending, fail_claimed, has_pending, release_claim
from core.records.reading import get_job
from core.records.rows import open_vectors
from core.records.tables import Lane, State


def test_a_claim_takes_the_oldest_of_its_lane_up_to_the_limit(desk):
    desk.write(*(f"bulk {number}" for number in range(3)), lane=Lane.BULK)
    desk.write(*(f"note {number}" for number in range(5)))
    ids = [row.id for row in desk.rows(desk.namespace()) if row.lane == Lane.INTERACTIVE]

    assert desk.claim(limit=2)[1] == ids[:2]
    assert desk.claim(limit=9)[1] == ids[2:]
    assert desk.claim()[1] == []
    assert len(desk.claim(lane=Lane.BULK)[1]) == 3


def test_a_claim_is_bounded_in_bytes_beyond_its_first_row(desk):
    desk.write(*(str(number) * 1_000 for number in range(6)))
    size = desk.rows(desk.namespace())[0].bytes

    taken = [len(desk.claim(bytes_max=bytes_max)[1]) for bytes_max in (1, 2 * size, 3 * size - 1, 9 * size)]

    assert taken == [1, 2, 2, 1]


def test_a_claim_takes_from_all_namespaces(desk):
    for name in ("a", "b", "c"):
        desk.write("note", namespace=name)

    assert len(desk.claim()[1]) == 3


def test_a_claimed_row_comes_back_when_the_lease_runs_out(desk):
    desk.write("note")
    desk.claim(lease_s=60)

    desk.clock.advance(59.9)
    assert desk.claim()[1] == []
    desk.clock.advance(0.1)
    assert len(desk.claim()[1]) == 1


def test_each_claim_counts_as_an_attempt(desk):
    desk.write("note")
    for expected in (1, 2, 3):
        [row] = desk.claim(lease_s=1)[1]
        assert desk.row(row).attempts == expected
        desk.clock.advance(2)


def test_a_replaced_worker_cannot_store(desk):
    desk.write("note")
    slow, [row] = desk.claim(lease_s=60)
    desk.clock.advance(61)
    fast, _ = desk.claim(lease_s=60)

    assert desk.store(slow, [row], np.array([[0.0, 1.0]], np.float32)) == 0
    assert desk.row(row).state == State.PENDING
    assert desk.store(fast, [row], np.array([[1.0, 0.0]], np.float32)) == 1
    assert desk.store(slow, [row], np.array([[0.0, 1.0]], np.float32)) == 0

    stored = desk.row(row)
    assert (stored.state, stored.lease, stored.lease_until) == (State.EMBEDDED, None, None)
    assert open_vectors(desk.namespace(), row, stored.sealed_vectors, 2).tolist() == [[1.0, 0.0]]


def test_a_late_worker_that_nobody_replaced_may_still_store(desk):
    desk.write("note")
    token, [row] = desk.claim(lease_s=60)
    desk.clock.advance(3_600)

    assert desk.store(token, [row]) == 1


def test_a_replaced_worker_can_neither_fail_nor_release_rows(desk):
    desk.write("note")
    slow, [row] = desk.claim(lease_s=60)
    desk.clock.advance(61)
    fast, _ = desk.claim(lease_s=60)

    with desk.records.database.write() as connection:
        fail_claimed(connection, slow, [row], "integrity", desk.clock())
        release_claim(connection, slow, [row])

    assert (desk.row(row).state, desk.row(row).lease) == (State.PENDING, fast)


def test_released_rows_come_back_at_once_or_after_a_while(desk):
    desk.write("note")
    token, rows = desk.claim()
    with desk.records.database.write() as connection:
        release_claim(connection, token, rows)
    token, rows = desk.claim()
    assert len(rows) == 1

    with desk.records.database.write() as connection:
        release_claim(connection, token, rows, retry_at=desk.clock() + 5_000_000)
    assert desk.claim()[1] == []
    desk.clock.advance(5)
    assert desk.claim()[1] == rows


def test_rows_are_claimed_with_those_that_were_tried_as_often(desk):
    desk.write(*(f"note {number}" for number in range(16)))
    ids = desk.claim(limit=16, lease_s=1)[1]
    desk.clock.advance(2)
    desk.write("a late one")

    assert desk.claim(limit=16)[1] == ids[:8]
    assert desk.claim(limit=16)[1] == ids[8:]
    assert len(desk.claim(limit=16)[1]) == 1


def test_a_row_that_kills_its_worker_takes_ever_fewer_with_it(desk):
    """The first of 64 does not end, four times; in between, everything that does not ride with it is stored."""
    desk.write(*(f"note {number}" for number in range(64)))
    poison = desk.rows(desk.namespace())[0].id
    rode_along = []
    for _ in range(5):
        rows = desk.claim(limit=64, lease_s=60)[1]
        assert rows[0] == poison
        rode_along.append(len(rows) - 1)
        while (claimed := desk.claim(limit=64, lease_s=60))[1]:
            desk.store(*claimed)
        desk.clock.advance(61)
    assert rode_along == [63, 22, 7, 2, 0]

    with desk.records.database.write() as connection:
        claim = claim_pending(connection, Lane.INTERACTIVE, now=desk.clock(), lease_us=1, limit=64, attempts_max=5)
        fail_claimed(connection, claim.token, claim.exhausted, "attempts_exhausted", desk.clock())
    assert claim.exhausted == [poison]
    assert (desk.row(poison).state, desk.row(poison).attempts) == (State.FAILED, 5)
    assert {row.state for row in desk.rows(desk.namespace())} == {State.FAILED, State.EMBEDDED}


def test_a_claim_of_fresh_rows_leaves_suspects_and_what_comes_behind_them(desk):
    desk.write("suspect")
    desk.claim(lease_s=1)
    desk.clock.advance(2)
    desk.write("fresh")

    assert desk.claim(fresh_only=True)[1] == []
    [suspect] = desk.claim()[1]
    assert desk.claim(fresh_only=True)[1] == [suspect + 2]  # a job has an id, too


def test_released_rows_get_their_attempt_back_unless_it_may_have_been_theirs(desk):
    desk.write("note")
    for counted, expected in ((False, 0), (True, 1), (False, 1), (True, 2)):
        token, [row] = desk.claim()
        with desk.records.database.write() as connection:
            release_claim(connection, token, [row], counted=counted)
        assert desk.row(row).attempts == expected


def test_failed_rows_end_with_a_reason_and_end_their_job(desk):
    job = desk.write("good", "bad").job_id
    token, [good, bad] = desk.claim()
    with desk.records.database.write() as connection:
        fail_claimed(connection, token, [bad], "integrity", desk.clock())
    assert get_job(desk.records, job).finished_at is None
    assert desk.store(token, [good, bad]) == 1

    desk.flush(desk.namespace())

    view = get_job(desk.records, job)
    assert (view.state, view.failed, view.indexed) == ("failed", 1, 1)
    assert view.errors == [{"code": "integrity", "memories": 1}]
    assert view.finished_at is not None


def test_pending_rows_are_counted_and_seen(desk):
    def pending() -> tuple[bool, int, int | None]:
        with desk.records.database.read() as connection:
            count = int(lane_loads(connection, State.PENDING)[Lane.INTERACTIVE].rows)
            free = has_pending(connection, Lane.INTERACTIVE, desk.clock())
            return free, count, oldest_pending_at(connection, Lane.INTERACTIVE)

    assert pending() == (False, 0, None)
    written = desk.clock()
    desk.write("a", "b")
    assert pending() == (True, 2, written)
    desk.claim(lease_s=60)
    assert pending() == (False, 2, written)  # claimed: nobody need be woken
    desk.clock.advance(61)
    assert pending() == (True, 2, written)


def test_threads_never_share_a_row(desk, open_desk):
    desk.write(*(f"note {number}" for number in range(200)))
    desks = [desk, open_desk(), open_desk(), open_desk()]
    start = threading.Barrier(len(desks))

    def work(each) -> list[int]:
        start.wait()
        taken: list[int] = []
        while rows := each.claim(limit=7)[1]:
            taken += rows
        return taken

    with ThreadPoolExecutor(len(desks)) as pool:
        taken = [row for rows in pool.map(work, desks) for row in rows]

    assert len(taken) == len(set(taken)) == 200


@pytest.mark.timeout(60)
def test_processes_never_share_a_row(desk, server_settings):
    desk.write(*(f"note {number}" for number in range(300)))
    spawn = multiprocessing.get_context("spawn")
    start, results, environment = spawn.Barrier(2), spawn.Queue(), server_settings.as_environment()
    workers = [spawn.Process(target=claim_everything, args=(environment, start, results)) for _ in range(2)]
    for worker in workers:
        worker.start()
    taken = [results.get(timeout=50) for _ in workers]
    for worker in workers:
        worker.join()

    assert Counter(taken[0] + taken[1]) == Counter(row.id for row in desk.rows(desk.namespace()))


@given(st.lists(st.tuples(st.sampled_from(["claim", "store", "pass"]), st.integers(0, 2)), max_size=25))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_row_is_stored_exactly_once_by_whoever_holds_it(desk, steps):
    """Three workers claim, stall and store in any order. The model: one holder and one deadline for each row."""
    desk.clock.advance(61)
    desk.embed()  # what the example before left
    desk.write("a", "b", "c", "d")
    fresh = [row.id for row in desk.rows(desk.namespace())][-4:]
    hands: list[list[tuple[str, list[int]]]] = [[], [], []]
    holder = dict.fromkeys(fresh, ("nobody", 0))
    tried: Counter[int] = Counter()
    stored: set[int] = set()
    for step, worker in steps:
        if step == "pass":
            desk.clock.advance(40)
        elif step == "claim":
            free = [row for row in fresh if row not in stored and holder[row][1] <= desk.clock()]
            alike = [row for row in free[:2] if tried[row] == tried[free[0]]]
            token, rows = desk.claim(limit=2, lease_s=60, attempts_max=1_000)
            assert rows == (alike if free and tried[free[0]] == 0 else alike[:1])
            tried.update(rows)
            holder.update(dict.fromkeys(rows, (token, desk.clock() + 60_000_000)))
            hands[worker].append((token, rows))
        elif hands[worker]:
            token, rows = hands[worker].pop(0)
            ours = {row for row in rows if row not in stored and holder[row][0] == token}
            assert desk.store(token, rows) == len(ours)
            stored |= ours
    desk.clock.advance(61)
    assert stored.isdisjoint(rest := desk.embed())
    assert stored.union(rest) == set(fresh)

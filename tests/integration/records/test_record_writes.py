"""What an acknowledged write means: durable, versioned, once."""

import threading
from concurrent.futures import ThreadPoolExecutor, wait
from queue import SimpleQueue

import pytest
from sqlalchemy import func, select, update

from core.errors import Conflict, NotFound, Unavailable
from core.pipeline import groupcommit
from core.pipeline.groupcommit import GroupCommitter
from core.records.reading import get_history, get_memory, list_memories
from core.records.tables import State, jobs, memories
from core.records.writes import Idempotency


def total(desk, table) -> int:
    with desk.records.database.read() as connection:
        return connection.execute(select(func.count()).select_from(table)).scalar_one()


def test_a_write_gives_a_job_ids_and_pending_rows(desk):
    accepted = desk.write("first", {"content": "second", "id": "mine", "session": "s", "tags": ["a"]})

    assert accepted.job_id.startswith("job_")
    assert accepted.ids[0].startswith("mem_")
    assert accepted.ids[1] == "mine"
    rows = desk.rows(desk.namespace())
    assert [row.state for row in rows] == [State.PENDING, State.PENDING]
    assert rows[1].id == rows[0].id + 1
    memory = get_memory(desk.records, desk.namespace(), "mine")
    assert (memory.content, memory.session, memory.tags, memory.version) == ("second", "s", ["a"], 1)


def test_a_committed_write_is_there_for_another_process(desk, open_desk):
    accepted = desk.write("to be kept")

    other = open_desk()

    assert get_memory(other.records, other.namespace(), accepted.ids[0]).content == "to be kept"


def test_nothing_a_caller_named_or_wrote_rests_in_the_clear(desk):
    desk.write(
        {
            "content": "plainmarkcontent",
            "id": "plainmarkid",
            "session": "plainmarksession",
            "tags": ["plainmarktag"],
            "metadata": {"plainmarkkey": "plainmarkvalue"},
        },
        namespace="plainmarknamespace",
        idempotency=Idempotency(b"h" * 32, b"r" * 32),
        answer={"kept": "plainmarkanswer"},
    )

    for path in desk.records.folder.iterdir():
        assert b"plainmark" not in path.read_bytes(), path.name


def test_the_same_id_again_is_a_new_version(desk):
    desk.write({"id": "city", "content": "Rome"})
    desk.clock.advance(5)
    desk.write({"id": "city", "content": "Athens"})

    old, new = get_history(desk.records, desk.namespace(), "city")

    assert (old.content, old.version, new.content, new.version) == ("Rome", 1, "Athens", 2)
    assert old.closed_at == new.created_at
    assert new.closed_at is None
    assert get_memory(desk.records, desk.namespace(), "city").content == "Athens"
    assert [memory.content for memory in list_memories(desk.records, desk.namespace(), after=0, limit=9).memories] == [
        "Athens"
    ]


def test_the_same_id_twice_in_one_request_keeps_the_last(desk):
    desk.write(*({"id": "n", "content": f"take {number}"} for number in range(4)))

    history = get_history(desk.records, desk.namespace(), "n")

    assert [memory.version for memory in history] == [1, 2, 3, 4]
    assert [memory.closed_at is None for memory in history] == [False, False, False, True]
    rows = desk.rows(desk.namespace())
    assert [row.closed_by for row in rows] == [rows[1].id, rows[2].id, rows[3].id, None]


def test_the_same_id_in_requests_of_one_commit_keeps_the_last(desk):
    desk.commit(*(desk.request({"id": "n", "content": f"take {number}"}) for number in range(3)))

    assert [memory.version for memory in get_history(desk.records, desk.namespace(), "n")] == [1, 2, 3]
    assert get_memory(desk.records, desk.namespace(), "n").content == "take 2"


def test_supersedes_closes_the_other_memory(desk):
    desk.write({"id": "old", "content": "lives in Bonn"})
    desk.write({"id": "new", "content": "lives in Berlin", "supersedes": "old"})

    with pytest.raises(NotFound):
        get_memory(desk.records, desk.namespace(), "old")
    [closed] = get_history(desk.records, desk.namespace(), "old")
    assert closed.closed_at is not None
    assert get_memory(desk.records, desk.namespace(), "new").version == 1
    old, new = desk.rows(desk.namespace())
    assert (old.closed_by, old.overlay) == (new.id, True)


def test_superseding_what_is_not_there_is_a_plain_write(desk):
    accepted = desk.write({"content": "new", "supersedes": "never was"})

    assert get_memory(desk.records, desk.namespace(), accepted.ids[0]).content == "new"


def test_superseding_within_one_request(desk):
    desk.write({"id": "a", "content": "one"}, {"id": "b", "content": "two", "supersedes": "a"})

    assert [memory.id for memory in list_memories(desk.records, desk.namespace(), after=0, limit=9).memories] == ["b"]


def test_a_patch_of_a_version_that_moved_on_is_a_conflict(desk):
    desk.write({"id": "doc", "content": "1"})
    seen = get_memory(desk.records, desk.namespace(), "doc").row
    desk.write({"id": "doc", "content": "2"})

    with pytest.raises(Conflict):
        desk.write({"id": "doc", "content": "patched"}, replaces_row=seen)

    assert get_memory(desk.records, desk.namespace(), "doc").content == "2"
    current = get_memory(desk.records, desk.namespace(), "doc").row
    desk.write({"id": "doc", "content": "patched"}, replaces_row=current)
    assert get_memory(desk.records, desk.namespace(), "doc").version == 3


def test_a_refused_transaction_leaves_nothing(desk):
    desk.write({"id": "doc", "content": "1"})
    before = total(desk, jobs), total(desk, memories)

    with pytest.raises(Conflict):
        desk.commit(desk.request("good"), desk.request({"id": "doc", "content": "2"}, replaces_row=10**9))

    assert (total(desk, jobs), total(desk, memories)) == before
    assert get_memory(desk.records, desk.namespace(), "doc").content == "1"


def test_a_deleted_namespace_takes_no_writes(desk):
    request = desk.request("too late")
    desk.records.delete_namespace("notes")

    with pytest.raises(NotFound):
        desk.commit(request)

    assert total(desk, memories) == 0


class TestIdempotency:
    KEY = Idempotency(b"k" * 32, b"r" * 32)

    def test_a_repeated_request_gets_the_first_answer(self, desk):
        first = desk.write("once", idempotency=self.KEY, answer={"accepted": 1})
        again = desk.write("once", idempotency=self.KEY, answer={"accepted": 1})

        assert (again.job_id, again.ids, again.answer) == (first.job_id, first.ids, {"accepted": 1})
        assert (first.repeated, again.repeated) == (False, True)
        assert total(desk, memories) == 1

    def test_a_key_used_for_another_request_is_a_conflict(self, desk):
        desk.write("once", idempotency=self.KEY)

        with pytest.raises(Conflict):
            desk.write("other", idempotency=Idempotency(self.KEY.handle, b"x" * 32))

        assert total(desk, memories) == 1

    def test_a_job_of_an_older_schema_repeats_its_answer_for_its_key_alone(self, desk):
        first = desk.write("once", idempotency=self.KEY)
        with desk.records.database.write() as connection:
            connection.execute(update(jobs).values(request_hash=None))  # as the upgrade leaves it

        again = desk.write("once", idempotency=Idempotency(self.KEY.handle, b"x" * 32))

        assert (again.job_id, again.repeated) == (first.job_id, True)
        assert total(desk, memories) == 1

    def test_the_same_key_twice_in_one_commit(self, desk):
        first, second = desk.commit(*(desk.request("once", idempotency=self.KEY) for _ in range(2)))

        assert (second.job_id, second.ids, second.repeated) == (first.job_id, first.ids, True)

    def test_the_same_key_from_many_threads_writes_once(self, desk):
        desk.namespace()
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: desk.write("once", idempotency=self.KEY), range(16)))

        assert len({answer.job_id for answer in answers}) == 1
        assert len({tuple(answer.ids) for answer in answers}) == 1
        assert sum(not answer.repeated for answer in answers) == 1
        assert total(desk, memories) == 1

    def test_the_same_key_from_another_process_writes_once(self, desk, open_desk):
        first = desk.write("once", idempotency=self.KEY)

        assert open_desk().write("once", idempotency=self.KEY).job_id == first.job_id


class TestGroupCommit:
    def test_requests_that_wait_share_a_commit(self, desk, commits):
        committer, committed = commits
        requests = [desk.request(f"note {number}") for number in range(50)]

        with desk.records.database.write():  # nobody can commit meanwhile
            futures = [committer.submit(request) for request in requests]
        answers = [future.result() for future in futures]

        assert len(committed) <= 2  # what was picked up first, and all the others together
        assert len({answer.job_id for answer in answers}) == 50
        listed = list_memories(desk.records, desk.namespace(), after=0, limit=99).memories
        assert [memory.id for memory in listed] == [answer.ids[0] for answer in answers]

    def test_a_bad_request_in_a_shared_commit_fails_alone(self, desk, commits):
        committer, _ = commits
        desk.write("keyed", idempotency=TestIdempotency.KEY)
        orphan = desk.request("orphan", namespace="doomed")
        desk.records.delete_namespace("doomed")
        stolen = desk.request("stolen", idempotency=Idempotency(TestIdempotency.KEY.handle, b"x" * 32))
        good = [desk.request(f"note {number}") for number in range(6)]

        with desk.records.database.write():
            futures = [committer.submit(request) for request in [*good[:3], orphan, stolen, *good[3:]]]

        with pytest.raises(NotFound):
            futures[3].result()
        with pytest.raises(Conflict):
            futures[4].result()
        kept = [future.result().ids[0] for index, future in enumerate(futures) if index not in {3, 4}]
        assert [get_memory(desk.records, desk.namespace(), id_).content for id_ in kept] == [
            f"note {number}" for number in range(6)
        ]

    def test_a_caller_that_goes_away_harms_nobody(self, desk, commits):
        committer, _ = commits
        left, stayed, late = (desk.request(text) for text in ("asked and left", "asked and stayed", "asked later"))

        with desk.records.database.write():
            committer.submit(left).cancel()
            kept = committer.submit(stayed)

        assert kept.result(timeout=20).ids
        assert committer.submit(late).result(timeout=20).ids

    def test_close_commits_what_was_submitted(self, desk, commits):
        committer, _ = commits
        futures = [committer.submit(desk.request(f"note {number}")) for number in range(20)]

        committer.close()

        assert all(future.done() for future in futures)
        assert total(desk, memories) == 20

    def test_a_write_that_comes_while_it_closes_is_committed_or_refused(self, desk, commits, monkeypatch):
        """It was let in just before the close, and is put into the queue a moment after."""
        committer, _ = commits
        let_in, go_on = threading.Event(), threading.Event()

        class Late(SimpleQueue):
            def put(self, item) -> None:
                if item is not None:
                    let_in.set()
                    go_on.wait(20)
                super().put(item)

        committer.close()
        monkeypatch.setattr(groupcommit, "SimpleQueue", Late)
        committer = GroupCommitter(desk.records.database, desk.clock, lambda *_: None)
        with ThreadPoolExecutor(2) as pool:
            submitting = pool.submit(committer.submit, desk.request("just in time"))
            let_in.wait(20)
            closing = pool.submit(committer.close)
            closing_began = wait([closing], timeout=0.2)
            go_on.set()
            closing.result(timeout=20)
            assert submitting.result(timeout=20).result(timeout=20).ids
        assert not closing_began.done
        with pytest.raises(Unavailable) as refused:
            committer.submit(desk.request("too late"))
        assert refused.value.reason == "stopping"
        assert total(desk, memories) == 1


@pytest.fixture
def commits(desk):
    """A group committer, and what each of its commits carried."""
    committed: list[object] = []
    committer = GroupCommitter(desk.records.database, desk.clock, lambda lanes, _: committed.append(lanes))
    yield committer, committed
    committer.close()

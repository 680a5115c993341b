"""Jobs, lists and histories as their owner sees them."""

import pytest
from sqlalchemy import update

from core.errors import IntegrityError, NotFound
from core.records.claims import fail_claimed
from core.records.deletion import delete_memory
from core.records.reading import count_states, get_history, get_job, get_memory, list_jobs, list_memories
from core.records.tables import State, memories


def counts(desk, job: str) -> tuple[str, int, int, int, int, int]:
    view = get_job(desk.records, job)
    return view.state, view.accepted, view.embedded, view.indexed, view.failed, view.deleted


def test_a_jobs_counts_are_true_at_each_stage(desk):
    job = desk.write(*({"id": str(number), "content": f"note {number}"} for number in range(4))).job_id
    assert counts(desk, job) == ("pending", 4, 0, 0, 0, 0)

    token, [first, *rest] = desk.claim()
    desk.store(token, [first])
    assert counts(desk, job) == ("embedding", 4, 1, 0, 0, 0)

    with desk.records.database.write() as connection:
        fail_claimed(connection, token, rest[:1], "integrity", desk.clock())
    assert counts(desk, job) == ("embedding", 4, 1, 0, 1, 0)

    desk.store(token, rest[1:])
    assert counts(desk, job) == ("indexing", 4, 3, 0, 1, 0)

    delete_memory(desk.records, desk.namespace(), "3")
    assert counts(desk, job) == ("indexing", 4, 2, 0, 1, 1)

    desk.clock.advance(7)
    desk.flush(desk.namespace())
    assert counts(desk, job) == ("failed", 4, 2, 2, 1, 1)
    view = get_job(desk.records, job)
    assert view.finished_at is not None
    assert (view.finished_at - view.created_at).total_seconds() == 7
    assert view.namespace == "notes"


def test_a_job_whose_memories_were_all_deleted_has_ended(desk):
    job = desk.write({"id": "x", "content": "a"}).job_id
    delete_memory(desk.records, desk.namespace(), "x")

    assert counts(desk, job) == ("indexed", 1, 0, 0, 0, 1)


def test_an_empty_job_has_ended(desk):
    job = desk.write().job_id

    assert counts(desk, job) == ("indexed", 0, 0, 0, 0, 0)
    assert get_job(desk.records, job).finished_at is not None


def test_states_add_up_to_what_was_accepted(desk):
    desk.write(*({"id": str(number), "content": "x"} for number in range(9)))
    token, rows = desk.claim(limit=6)
    desk.store(token, rows[:4])
    delete_memory(desk.records, desk.namespace(), "0")
    desk.flush(desk.namespace())

    with desk.records.database.read() as connection:
        found = count_states(connection, desk.namespace().id)
    assert found == {"pending": 5, "embedded": 0, "indexed": 3, "failed": 0, "deleted": 1}


def test_an_unknown_job_is_not_found(desk):
    with pytest.raises(NotFound):
        get_job(desk.records, "job_nothing")


def test_pages_hold_every_present_memory_once(desk):
    desk.write(*({"id": f"m{number}", "content": "x"} for number in range(25)))
    for id_ in ("m3", "m17"):
        delete_memory(desk.records, desk.namespace(), id_)
    desk.write({"id": "m5", "content": "newer"})
    seen, after = [], 0
    while after is not None:
        page = list_memories(desk.records, desk.namespace(), after=after, limit=4)
        assert 0 < len(page.memories) <= 4
        seen += [memory.id for memory in page.memories]
        after = page.next_after
        if len(seen) == 8:
            desk.write({"id": "late", "content": "arrives while somebody pages"})

    expected = [f"m{number}" for number in range(25) if number not in {3, 5, 17}]
    assert seen == [*expected, "m5", "late"]


def test_a_session_is_listed_alone(desk):
    desk.write(*({"id": f"{name}{number}", "content": "x", "session": name} for number in range(3) for name in "ab"))

    page = list_memories(desk.records, desk.namespace(), after=0, limit=9, session="b")
    assert [memory.id for memory in page.memories] == ["b0", "b1", "b2"]
    assert list_memories(desk.records, desk.namespace(), after=0, limit=9, session="c").memories == []


def test_a_row_that_was_changed_hides_nothing_but_itself(desk):
    desk.write(*({"id": f"m{number}", "content": "x"} for number in range(5)))
    second = desk.rows(desk.namespace())[1]
    with desk.records.database.write() as connection:
        connection.execute(update(memories).where(memories.c.id == second.id).values(sealed=second.sealed[:-1] + b"?"))
    page = list_memories(desk.records, desk.namespace(), after=0, limit=3)
    assert ([memory.id for memory in page.memories], page.refused) == (["m0", "m2"], 1)
    page = list_memories(desk.records, desk.namespace(), after=page.next_after, limit=3)
    assert ([memory.id for memory in page.memories], page.refused, page.next_after) == (["m3", "m4"], 0, None)


def test_the_history_shows_when_each_version_stood(desk):
    times = []
    for content in ("one", "two", "three"):
        times.append(desk.clock())
        desk.write({"id": "x", "content": content, "metadata": {"says": content}})
        desk.clock.advance(10)

    history = get_history(desk.records, desk.namespace(), "x")

    assert [memory.metadata["says"] for memory in history] == ["one", "two", "three"]
    opened = [memory.created_at for memory in history]
    assert [memory.closed_at for memory in history] == [*opened[1:], None]
    assert [int(moment.timestamp() * 1e6) for moment in opened] == times


def test_jobs_are_listed_newest_first_in_pages(desk):
    made = [desk.write(f"note {number}").job_id for number in range(7)]
    desk.embed()
    desk.flush(desk.namespace())
    waiting = desk.write("last").job_id

    listed, after = [], None
    while page := list_jobs(desk.records, after=after, limit=3):
        listed += [job.id for job in page]
        after = page[-1].row
    assert listed == [waiting, *reversed(made)]


def test_jobs_are_listed_by_the_state_they_show(desk):
    namespace = desk.namespace()
    desk.write("done")
    desk.embed()
    desk.flush(namespace)
    desk.write()
    desk.write({"id": "gone", "content": "deleted"})
    delete_memory(desk.records, namespace, "gone")
    desk.write("bad", "good")
    token, [bad, good] = desk.claim()
    with desk.records.database.write() as connection:
        fail_claimed(connection, token, [bad], "integrity", desk.clock())
    desk.store(token, [good])
    desk.flush(namespace)
    desk.write("all embedded")
    desk.embed()
    desk.write("one embedded", "one pending")
    token, [first] = desk.claim(limit=1)
    desk.store(token, [first])
    desk.write("nothing embedded")

    states = {job.id: job.state for job in list_jobs(desk.records, after=None, limit=99)}
    assert sorted(states.values()) == sorted(["indexed"] * 3 + ["failed", "indexing", "embedding", "pending"])
    for state in set(states.values()):
        listed = [job.id for job in list_jobs(desk.records, after=None, limit=99, state=state)]
        assert listed == [id_ for id_ in states if states[id_] == state]


def test_a_changed_row_is_refused(desk):
    desk.write({"id": "x", "content": "true"}, {"id": "y", "content": "other"})
    first, second = desk.rows(desk.namespace())
    flipped = first.sealed[:-1] + bytes([first.sealed[-1] ^ 1])
    for sealed in (flipped, second.sealed, first.sealed[:20], b""):
        with desk.records.database.write() as connection:
            connection.execute(memories.update().where(memories.c.id == first.id).values(sealed=sealed))
        with pytest.raises(IntegrityError):
            get_memory(desk.records, desk.namespace(), "x")
    assert get_memory(desk.records, desk.namespace(), "y").state == State.PENDING

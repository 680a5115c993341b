"""Versions: the new one answers at once, the old one only to those who ask for its time."""

import pytest

from core.records.tables import Lane
from tests.stores import LONG_ON_POSTGRES

RECORD_STORES = LONG_ON_POSTGRES

MODES = ("hybrid", "vector", "text")
OLD = "Nadia works at the harbour office in Trieste."
NEW = "Nadia moved to the observatory in Hilo."


@pytest.fixture
def moved(server):
    """A memory indexed at one time and updated ten seconds later; the update is not embedded yet."""
    server.write({"id": "nadia", "content": OLD}, "The ferry leaves at nine.", "Lemons are in season.")
    server.settle()
    server.before = server.clock()
    server.clock.advance(10)
    server.write({"id": "nadia", "content": NEW})
    return server


def answers(server, query: str, **more) -> list[str]:
    """Return what the memory says in each mode that finds it."""
    return [
        hit.memory.content
        for mode in MODES
        for hit in server.search(query, mode=mode, **more)
        if hit.memory.id == "nadia"
    ]


def test_an_update_answers_at_once_through_the_old_hit(moved):
    assert answers(moved, "harbour office in Trieste") == [NEW] * 3


def test_an_indexed_update_answers_under_its_own_words(moved):
    moved.settle()

    assert answers(moved, "observatory in Hilo") == [NEW] * 3
    assert moved.search("harbour Trieste", mode="text") == []
    assert len(moved.ids("Nadia", mode="vector", limit=10)) == 3
    moved.check()


def test_several_updates_in_a_row_answer_at_once(moved):
    for place in ("Lima", "Oslo", "Perth"):
        moved.clock.advance(1)
        moved.write({"id": "nadia", "content": f"Nadia is in {place}."})
        assert answers(moved, "harbour office in Trieste") == [f"Nadia is in {place}."] * 3
    moved.settle()

    assert answers(moved, "Nadia is in Perth") == ["Nadia is in Perth."] * 3
    assert moved.search("Lima Oslo", mode="text") == []
    moved.check()


def test_the_past_is_asked_for_by_time(moved):
    for _ in range(2):
        assert answers(moved, "harbour office in Trieste", as_of=moved.before) == [OLD] * 3
        assert moved.search("observatory Hilo", mode="text", as_of=moved.before) == []
        moved.settle()
    assert answers(moved, "observatory in Hilo", as_of=moved.clock()) == [NEW] * 3
    assert moved.search("Nadia", mode="text", as_of=moved.before - 1) == []
    moved.clock.advance(3_600)
    moved.maintain()
    assert answers(moved, "harbour office in Trieste", as_of=moved.before) == [OLD] * 3


def test_each_version_answers_for_its_own_time(server):
    times = []
    for place in ("Lima", "Oslo", "Perth"):
        server.write({"id": "nadia", "content": f"Nadia is in {place}."})
        server.settle()
        times.append((server.clock(), place))
        server.clock.advance(60)

    for moment, place in times:
        for offset in (0, 59_000_000):
            assert answers(server, "where is Nadia", as_of=moment + offset)[:2] == [f"Nadia is in {place}."] * 2


def test_a_superseded_memory_passes_its_hits_on(server):
    server.write({"id": "old", "content": OLD})
    server.settle()
    before = server.clock()
    server.clock.advance(10)
    server.write({"id": "new", "content": NEW, "supersedes": "old"})

    for _ in range(2):
        assert server.ids("Nadia harbour Trieste", mode="vector") == ["new"]
        assert server.ids("harbour Trieste", mode="vector", as_of=before) == ["old"]
        server.settle()
    assert server.search("harbour Trieste", mode="text") == []


def test_one_memory_answers_once_however_many_hits_lead_to_it(server):
    server.write({"id": "a", "content": OLD}, {"id": "b", "content": OLD + " Still."})
    server.settle()
    server.write({"id": "b", "content": NEW, "supersedes": "a"})

    for mode in MODES:
        assert server.ids("harbour office in Trieste", mode=mode) == ["b"]


def test_a_pending_update_out_of_scope_answers_nothing(server):
    server.write({"id": "nadia", "content": OLD, "tags": ["work"]})
    server.settle()
    server.write({"id": "nadia", "content": NEW, "tags": ["private"]})

    assert answers(server, "Nadia harbour", tags=["work"]) == []
    server.settle()
    assert answers(server, "Nadia observatory", tags=["work"]) == []
    assert answers(server, "Nadia observatory", tags=["private"]) == [NEW] * 3


def test_updates_survive_a_restart_before_they_are_embedded(moved, restart):
    server = restart(moved)

    assert answers(server, "harbour office in Trieste") == [NEW] * 3
    server.settle()
    assert answers(server, "observatory in Hilo") == [NEW] * 3


def test_a_bulk_original_embedded_after_its_update_stays_closed(server):
    server.write({"id": "nadia", "content": OLD}, lane=Lane.BULK)
    server.write({"id": "nadia", "content": NEW})
    server.runtime.embed(server.company, Lane.INTERACTIVE)
    server.index()
    server.maintain()
    server.settle()

    assert answers(server, "Nadia") == [NEW] * 3
    assert server.search("harbour Trieste", mode="text") == []
    server.check()

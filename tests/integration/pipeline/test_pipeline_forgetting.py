"""Deleting what matches: many pages, one receipt, finished by another process when the first one dies."""

import pytest
from sqlalchemy import select, update

from core.errors import InvalidInput, NotFound
from core.pipeline import forgetting
from core.pipeline.forgetting import Conditions, delete_matching, resume_deletions
from core.records import claims
from core.records.reading import get_history, list_memories
from core.records.receipts import Kind, get_receipt, list_receipts
from core.records.tables import Lane, State, deletions, memories
from tests.stores import BOTH, IN_FILES

RECORD_STORES = BOTH

LEASE_S = 30


class Died(BaseException):
    """The process ended here: no handler of errors sees it."""


@pytest.fixture(autouse=True)
def small_pages(monkeypatch):
    monkeypatch.setattr(claims, "_IDS_PER_STATEMENT", 4)


@pytest.fixture
def filled(server):
    """Twenty memories, every other one red, in two sessions; another namespace like it."""
    for name in ("notes", "other"):
        server.write(
            *(
                {
                    "id": f"n{number}",
                    "content": f"Note {number}.",
                    "session": "first" if number < 10 else "second",
                    "tags": ["red"] if number % 2 else [],
                    "metadata": {"number": number},
                }
                for number in range(20)
            ),
            namespace=name,
            lane=Lane.BULK,
        )
    return server


def left(server, namespace="notes") -> set[str]:
    return {view.id for view in list_memories(server.records, server.namespace(namespace), after=0, limit=500).memories}


def receipts(server):
    with server.records.database.read() as connection:
        return list_receipts(connection, namespace_ids=None, after=None, limit=99)


def die_at_page(monkeypatch, page: int) -> None:
    """End the process where it is about to erase the rows of a page."""
    erase, calls = forgetting.erase, []

    def erase_or_die(*arguments):
        calls.append(1)
        if len(calls) == page:
            raise Died
        erase(*arguments)

    monkeypatch.setattr(forgetting, "erase", erase_or_die)


RED = Conditions(tags=("red",))
REDS = {f"n{number}" for number in range(1, 20, 2)}
ALL = {f"n{number}" for number in range(20)}


@pytest.mark.parametrize(
    ("conditions", "kind", "gone"),
    [
        (RED, Kind.FILTER, REDS),
        (Conditions(session="second"), Kind.SESSION, {f"n{number}" for number in range(10, 20)}),
        (Conditions(session="second", tags=("red",)), Kind.FILTER, {f"n{number}" for number in range(11, 20, 2)}),
        (Conditions(filter={"number": {"lt": 3}}), Kind.FILTER, {"n0", "n1", "n2"}),
        (Conditions(session="third"), Kind.SESSION, set()),
    ],
)
def test_a_deletion_of_many_pages_is_one_receipt(filled, conditions, kind, gone):
    done = delete_matching(filled.records, filled.namespace(), conditions)

    assert left(filled) == ALL - gone
    assert left(filled, "other") == ALL
    [receipt] = receipts(filled)
    assert (receipt.id, receipt.kind, receipt.state, receipt.rows) == (done.id, kind, "erased", len(gone))
    assert (done.rows, done.refused) == (len(gone), 0)
    with filled.records.database.read() as connection:
        assert connection.execute(select(deletions.c.sealed_scope)).scalars().all() == [None]


def test_versions_go_with_what_matches_and_are_counted(filled):
    filled.write({"id": "n1", "content": "Note 1 again.", "tags": ["red"]})
    filled.write({"id": "n3", "content": "No longer red."})

    done = delete_matching(filled.records, filled.namespace(), RED)

    assert left(filled) == ALL - REDS | {"n3"}
    assert done.rows == len(REDS) - 1 + 1  # n3 stays, n1 has two versions
    assert [view.tags for view in get_history(filled.records, filled.namespace(), "n3")] == [["red"], []]


def test_a_condition_that_cannot_be_understood_leaves_nothing_behind(filled):
    with pytest.raises(InvalidInput):
        delete_matching(filled.records, filled.namespace(), Conditions(filter={"number": {"near": 3}}))
    assert receipts(filled) == []


@pytest.mark.parametrize("page", [1, 3])
def test_a_deletion_whose_process_died_is_finished_by_another(filled, restart, monkeypatch, page):
    with monkeypatch.context() as dying:
        die_at_page(dying, page)
        with pytest.raises(Died):
            delete_matching(filled.records, filled.namespace(), RED)
    assert len(left(filled) & REDS) == 10 - 2 * (page - 1)
    server = restart(filled)
    [receipt] = receipts(server)
    assert (receipt.state, receipt.rows) == ("erasing", 2 * (page - 1))
    server.write({"id": "later", "content": "Red, but written after the deletion.", "tags": ["red"]})
    server.write({"id": "n19", "content": "Rewritten after the deletion.", "tags": ["red"]})

    server.maintain()
    assert len(left(server) & REDS) == 10 - 2 * (page - 1)  # its lease: the first process might still be at it
    server.clock.advance(LEASE_S)
    server.maintain()

    assert left(server) == ALL - REDS | {"later", "n19"}
    [finished] = receipts(server)
    assert (finished.id, finished.state, finished.rows) == (receipt.id, "purged", 10)  # no shard ever held them
    assert [view.version for view in get_history(server.records, server.namespace(), "n19")] == [2]
    assert resume_deletions(server.records) == 0


def test_two_processes_that_finish_the_same_deletion_count_each_row_once(filled, open_server, monkeypatch):
    """The first one was only slow: it goes on while another has taken over."""
    other, page, calls = open_server(), forgetting._page, []

    def overtaken(*arguments):
        rows = page(*arguments)
        calls.append(1)
        if len(calls) == 2:
            filled.clock.advance(LEASE_S)
            assert resume_deletions(other.records) == 1
        return rows

    monkeypatch.setattr(forgetting, "_page", overtaken)
    done = delete_matching(filled.records, filled.namespace(), RED)

    assert done.rows == 10
    assert left(filled) == ALL - REDS


def test_a_deletion_stops_with_its_process_and_goes_on_later(filled, monkeypatch):
    with monkeypatch.context() as dying:
        die_at_page(dying, 1)
        with pytest.raises(Died):
            delete_matching(filled.records, filled.namespace(), RED)
    filled.clock.advance(LEASE_S)
    looks = iter([False, False, True])

    assert resume_deletions(filled.records, lambda: next(looks)) == 0
    assert len(left(filled) & REDS) == 6
    filled.clock.advance(LEASE_S)
    assert resume_deletions(filled.records) == 1
    assert left(filled) == ALL - REDS


@IN_FILES
def test_the_scope_rests_sealed(filled, monkeypatch):
    with monkeypatch.context() as dying:
        die_at_page(dying, 1)
        with pytest.raises(Died):
            delete_matching(filled.records, filled.namespace(), Conditions("first", ("red",), {"number": 7}))
    with filled.records.database.read() as connection:
        [sealed] = connection.execute(select(deletions.c.sealed_scope)).scalars()
        [row] = connection.execute(select(deletions.c.id)).scalars()
    key = filled.namespace().key
    assert b"number" in key.open_row(sealed, "deletions", row, "scope")
    files = b"".join(path.read_bytes() for path in filled.records.folder.glob("records.db*"))
    assert sealed[:40] in files
    assert b'"number":7' not in files


def test_a_scope_that_was_changed_deletes_nothing_and_stops_nobody(filled, monkeypatch):
    for conditions in (RED, Conditions(session="first")):
        with monkeypatch.context() as dying:
            die_at_page(dying, 1)
            with pytest.raises(Died):
                delete_matching(filled.records, filled.namespace(), conditions)
    with filled.records.database.write() as connection:
        first, second = connection.execute(select(deletions.c.id, deletions.c.sealed_scope).order_by(deletions.c.id))
        connection.execute(update(deletions).where(deletions.c.id == first.id).values(sealed_scope=second.sealed_scope))
    filled.clock.advance(LEASE_S)

    assert resume_deletions(filled.records) == 1

    assert left(filled) == {f"n{number}" for number in range(10, 20)}
    assert [receipt.state for receipt in receipts(filled)] == ["erased", "erasing"]


def test_a_row_that_cannot_be_opened_is_kept_and_counted(filled):
    namespace = filled.namespace()
    [broken], [emptied] = filled.row_ids("n5"), filled.row_ids("n6")
    for row, sealed in ((broken, b"\x01" * 80), (emptied, None)):
        with filled.records.database.write() as connection:
            connection.execute(update(memories).where(memories.c.id == row).values(sealed=sealed))

    done = delete_matching(filled.records, namespace, RED)

    assert (done.rows, done.refused) == (9, 2)
    with filled.records.database.read() as connection:
        kept = connection.execute(select(memories).where(memories.c.id == broken)).one()
        assert (kept.state, kept.deletion_id) == (State.PENDING, None)
    assert delete_matching(filled.records, namespace, Conditions(session="first")).rows == 5 + 1
    assert left(filled) == {f"n{number}" for number in range(10, 20, 2)}


def test_a_deletion_in_a_namespace_that_is_destroyed_meanwhile_ends_with_it(filled, open_server, monkeypatch):
    namespace = filled.namespace()
    with monkeypatch.context() as dying:
        die_at_page(dying, 2)
        with pytest.raises(Died):
            delete_matching(filled.records, namespace, RED)
    filled.records.delete_namespace("notes")

    filled.clock.advance(LEASE_S)
    assert resume_deletions(filled.records) == 0

    destroyed, begun = receipts(filled)
    assert (destroyed.kind, destroyed.rows, begun.state, begun.rows) == (Kind.NAMESPACE, 18, "erased", 2)
    with pytest.raises(NotFound):
        delete_matching(filled.records, namespace, RED)
    with filled.records.database.read() as connection:
        assert get_receipt(connection, begun.id).finished_at == destroyed.finished_at

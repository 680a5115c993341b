"""Every delete leaves a receipt, written by the transaction that erased."""

import pytest
from sqlalchemy import select

from core.errors import NotFound
from core.records.company import CompanyRecords
from core.records.deletion import delete_memory, expire
from core.records.receipts import Kind, Receipt, get_receipt, list_receipts
from core.records.tables import deletions, memories, namespace_keys


def receipt_of(records: CompanyRecords, public_id: str) -> Receipt:
    with records.database.read() as connection:
        return get_receipt(connection, public_id)


def listed(desk, **more) -> list[str]:
    with desk.records.database.read() as connection:
        return [
            each.id for each in list_receipts(connection, **{"namespace_ids": None, "after": None, "limit": 9} | more)
        ]


def test_the_receipt_of_a_memory_counts_its_versions(desk):
    desk.write({"id": "x", "content": "1"}, {"id": "x", "content": "2"}, {"id": "y", "content": "stays"})

    found = receipt_of(desk.records, delete_memory(desk.records, desk.namespace(), "x"))

    now = desk.clock()
    assert (found.kind, found.rows, found.state) == (Kind.MEMORY, 2, "erased")
    assert (found.created_at, found.finished_at, found.purge_due_at) == (now, now, now + 3_600_000_000)
    assert [row.deletion_id for row in desk.rows(desk.namespace())] == [found.row, found.row, None]


def test_the_deadline_is_that_of_the_settings(desk):
    desk.records.purge_us = 60_000_000
    desk.write({"id": "x", "content": "1"})
    found = receipt_of(desk.records, delete_memory(desk.records, desk.namespace(), "x"))
    assert found.purge_due_at == desk.clock() + 60_000_000


def test_a_delete_that_found_nothing_leaves_no_receipt(desk):
    desk.namespace()
    with pytest.raises(NotFound):
        delete_memory(desk.records, desk.namespace(), "x")
    assert listed(desk) == []


def test_what_expired_has_no_receipt(desk):
    desk.write({"id": "x", "content": "1", "ttl_seconds": 1})
    desk.clock.advance(2)
    assert expire(desk.records, 10) == 1
    assert listed(desk) == []
    assert [row.deletion_id for row in desk.rows(desk.namespace())] == [None]


def test_a_namespaces_receipt_counts_what_it_erased_and_earlier_ones_stay(desk):
    desk.write({"id": "x", "content": "1"}, {"id": "y", "content": "2", "session": "s"}, {"id": "z", "content": "3"})
    desk.write({"id": "t", "content": "short", "ttl_seconds": 1})
    desk.embed()
    desk.clock.advance(2)
    expire(desk.records, 10)
    namespace = desk.namespace()
    earlier = delete_memory(desk.records, namespace, "x")

    found = receipt_of(desk.records, desk.records.delete_namespace("notes"))

    assert (found.kind, found.rows, found.state, found.namespace_deleted) == (Kind.NAMESPACE, 2, "erased", True)
    rows = desk.rows(namespace)
    first = receipt_of(desk.records, earlier)
    assert [row.deletion_id for row in rows] == [first.row, found.row, found.row, None]
    assert {(row.state, row.sealed, row.sealed_vectors, row.session, row.overlay) for row in rows} == {
        ("deleted", None, None, None, False)
    }
    assert (first.rows, first.masked, first.namespace_deleted) == (1, False, True)
    with desk.records.database.read() as connection:
        assert connection.execute(select(namespace_keys)).all() == []


def test_a_namespace_is_deleted_once(desk, open_store):
    """By two processes that both have it open."""
    other = open_store()
    rival = other.records(desk.records.company)
    desk.write("a")
    rival.namespace("notes")
    desk.records.delete_namespace("notes")

    with pytest.raises(NotFound):
        rival.delete_namespace("notes")

    assert len(listed(desk)) == 1
    assert rival.known("notes") is None


def test_receipts_are_listed_newest_first_in_pages(desk):
    ids = []
    for number in range(4):
        desk.write({"id": "x", "content": str(number)}, namespace=f"n{number % 2}")
        ids.append(delete_memory(desk.records, desk.namespace(f"n{number % 2}"), "x"))
    ids.reverse()

    assert listed(desk) == ids
    assert listed(desk, limit=2) == ids[:2]
    assert listed(desk, after=receipt_of(desk.records, ids[1]).row) == ids[2:]
    assert listed(desk, namespace_ids=[desk.namespace("n0").id]) == [ids[1], ids[3]]
    with pytest.raises(NotFound):
        receipt_of(desk.records, "del_unknown")


def test_a_receipt_and_its_erasure_are_one_transaction(desk, monkeypatch):
    desk.write({"id": "x", "content": "kept"})

    def stumble(*_) -> None:
        raise RuntimeError

    monkeypatch.setattr("core.records.deletion.finish_receipt", stumble)
    with pytest.raises(RuntimeError):
        delete_memory(desk.records, desk.namespace(), "x")

    with desk.records.database.read() as connection:
        assert connection.execute(select(deletions)).all() == []
        assert [row.state for row in connection.execute(select(memories))] == ["pending"]

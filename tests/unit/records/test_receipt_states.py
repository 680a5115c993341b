"""What a receipt says of each moment of a deletion."""

import pytest

from core.records.receipts import Kind, Receipt

DUE = 3_600
NOT_OURS_TO_SAY = ["unused space in the database", "copies of before an upgrade", "backups"]


def receipt(kind=Kind.MEMORY, **more) -> Receipt:
    given = {"finished_at": 10, "purged_at": None, "masked": True} | more
    return Receipt(
        row=1,
        id="del_a",
        namespace_id=1,
        namespace_deleted=False,
        kind=kind,
        rows=2,
        created_at=0,
        purge_due_at=DUE,
        **given,
    )


@pytest.mark.parametrize(
    ("moment", "state", "erased", "remains"),
    [
        (
            {"finished_at": None},
            "erasing",
            [],
            ["record store", "index shards", "replaced shard files", "write-ahead log"],
        ),
        (
            {},
            "erased",
            ["record store"],
            ["index shards", "replaced shard files", "write-ahead log"],
        ),
        (
            {"masked": False},
            "erased",
            ["record store"],
            ["replaced shard files", "write-ahead log"],
        ),
        ({"masked": False, "purged_at": 90}, "purged", ["record store", "index shards"], []),
    ],
)
def test_a_receipt_says_what_is_gone_and_what_remains(moment, state, erased, remains):
    found = receipt(**moment)
    assert found.state == state
    assert [each.where for each in found.erased] == erased
    assert [each.where for each in found.remains] == [*remains, *NOT_OURS_TO_SAY]


def test_what_the_server_removes_is_gone_by_the_deadline():
    until = {each.where: each.until for each in receipt().remains}
    assert [until.pop(where) for where in NOT_OURS_TO_SAY] == [None] * len(NOT_OURS_TO_SAY)
    assert set(until.values()) == {DUE}


def test_a_deleted_namespace_lost_its_key():
    assert [each.where for each in receipt(Kind.NAMESPACE).erased] == ["record store", "keys"]

"""Deleting what matches a scope: found by opening rows, since only their content can tell."""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Row, select

from core.records.company import CompanyRecords, Namespace
from core.records.deletion import delete_rows
from core.records.rows import attribute_row, open_content
from core.records.tables import State, memories
from core.search.request import Scope
from core.search.visibility import matches
from core.shards.attributes import Attributes

_PAGE_ROWS: Final = 500


def delete_matching(records: CompanyRecords, namespace: Namespace, scope: Scope) -> int:
    """Delete every present memory within a scope; return how many rows were erased, versions included.

    Rows that are not indexed yet are judged too. Each is opened, because only its content can tell.
    """
    total, after = 0, 0
    while rows := _page(records, namespace, after):
        after = rows[-1].id
        opened = [(row, open_content(namespace, row.id, row.sealed)) for row in rows]
        allowed = matches(Attributes.of([attribute_row(row, stored) for row, stored in opened]), scope)
        chosen = [row.id for (row, _), match in zip(opened, allowed, strict=True) if match]
        total += delete_rows(records, namespace, chosen) if chosen else 0
    return total


def _page(records: CompanyRecords, namespace: Namespace, after: int) -> Sequence[Row[Any]]:
    statement = (
        select(memories)
        .where(
            memories.c.namespace_id == namespace.id,
            memories.c.id > after,
            memories.c.state != State.DELETED,
            memories.c.closed_at.is_(None),
        )
        .order_by(memories.c.id)
        .limit(_PAGE_ROWS)
    )
    with records.database.read() as connection:
        return connection.execute(statement).all()

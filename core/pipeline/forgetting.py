"""Deleting what matches conditions: found by opening rows, since only their content can tell (a session has a handle).

A deletion is written down, sealed, before its first row is erased, and is finished by whoever comes by if the process
that began it dies. It concerns what was accepted before it, and nothing after.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import orjson
import structlog
from sqlalchemy import Connection, Row, or_, select, update

from core.errors import IntegrityError, NotFound
from core.records.claims import in_chunks
from core.records.company import CompanyRecords, Namespace, use_newest_keys
from core.records.deletion import erase, with_versions
from core.records.leases import drop_lease, renew_lease, take_lease
from core.records.receipts import Kind, add_rows, finish_receipt, get_receipt, open_receipt, unfinished
from core.records.rows import attribute_row, open_content
from core.records.tables import State, deletions, memories
from core.records.writes import allocate
from core.search.filters import parse_filter
from core.search.request import Scope
from core.search.visibility import matches
from core.shards.attributes import Attributes

log = structlog.get_logger()

_LEASE_US: Final = 30_000_000  # renewed with each page that erases; then somebody else goes on
_COLUMNS: Final = [column for column in memories.c if column is not memories.c.sealed_vectors]


@dataclass(frozen=True)
class Conditions:
    """Which memories to delete; ``filter`` as the caller wrote it, because it is kept until all of them are found."""

    session: str | None = None
    tags: Sequence[str] = ()
    filter: Mapping[str, Any] | None = None

    def scope(self) -> Scope:
        """Return the conditions as a search has them. Raises ``InvalidInput``."""
        parsed = None if self.filter is None else parse_filter(self.filter)
        return Scope(filter=parsed, session=self.session, tags=tuple(self.tags))

    @property
    def kind(self) -> Kind:
        """What the receipt calls it."""
        return Kind.FILTER if self.tags or self.filter is not None else Kind.SESSION


@dataclass(frozen=True)
class Deleted:
    """A finished deletion; ``rows`` were erased, versions included, ``refused`` could not be opened and were kept."""

    id: str
    rows: int
    refused: int


@dataclass(frozen=True)
class _Deletion:
    """A deletion under way: what it takes of the rows before ``end``."""

    receipt: int
    conditions: Conditions
    end: int
    token: str

    def to_bytes(self) -> bytes:
        given = self.conditions
        return orjson.dumps(
            {"session": given.session, "tags": list(given.tags), "filter": given.filter, "end": self.end}
        )

    @classmethod
    def from_bytes(cls, plaintext: bytes, receipt: int, token: str) -> Self:
        kept = orjson.loads(plaintext)
        return cls(receipt, Conditions(kept["session"], kept["tags"], kept["filter"]), kept["end"], token)


def delete_matching(records: CompanyRecords, namespace: Namespace, conditions: Conditions) -> Deleted:
    """Delete every present memory that meets the conditions, with all its versions.

    Rows that are not indexed yet are judged too. A row that cannot be opened cannot be judged: it is kept and counted.
    Raises ``InvalidInput`` for a filter that cannot be understood, ``NotFound`` when the namespace was deleted.
    """
    scope = conditions.scope()
    with records.database.write() as connection:
        if not use_newest_keys(connection, [namespace]):
            raise NotFound("the namespace was deleted meanwhile", field="namespace")
        deletion, public_id = _begin(connection, records, namespace, conditions)
    refused = sum(_erase_pages(records, namespace, deletion, scope))
    _finish(records, deletion)
    with records.database.read() as connection:
        return Deleted(public_id, get_receipt(connection, public_id).rows, refused)


def resume_deletions(records: CompanyRecords, stopping: Callable[[], bool] = lambda: False) -> int:
    """Finish the deletions whose processes died; return how many."""
    with records.database.read() as connection:
        waiting = unfinished(connection)
    return sum(_resume(records, row, stopping) for row in waiting if not stopping())


def _resume(records: CompanyRecords, row: Row[Any], stopping: Callable[[], bool]) -> bool:
    with records.database.write() as connection:
        token = take_lease(connection, _lease(row.id), now=records.clock(), lease_us=_LEASE_US)
    if token is None:
        return False
    try:
        namespace = records.namespace_by_id(row.namespace_id)
        opened = namespace.key.open_row(row.sealed_scope, "deletions", row.id, "scope")
    except NotFound:  # deleted a moment ago, and this deletion finished with it
        return False
    except IntegrityError as error:
        log.error("deletion_refused", deletion=row.public_id, code=error.reason)
        return False
    deletion = _Deletion.from_bytes(opened, row.id, token)
    for _ in _erase_pages(records, namespace, deletion, deletion.conditions.scope()):
        if stopping():
            return False
    _finish(records, deletion)
    log.info("deletion_resumed", deletion=row.public_id, namespace=namespace.public_id)
    return True


def _begin(
    connection: Connection, records: CompanyRecords, namespace: Namespace, conditions: Conditions
) -> tuple[_Deletion, str]:
    """Write down what is to be deleted, under a lease that keeps others from resuming it."""
    now = records.clock()
    receipt, public_id = open_receipt(connection, namespace.id, conditions.kind, now, records.purge_us)
    token = take_lease(connection, _lease(receipt), now=now, lease_us=_LEASE_US)
    assert token is not None  # noqa: S101 - for the type checker; nobody else knows of this receipt yet
    deletion = _Deletion(receipt, conditions, allocate(connection, 1), token)
    sealed = namespace.key.seal_row(deletion.to_bytes(), "deletions", receipt, "scope")
    connection.execute(update(deletions).where(deletions.c.id == receipt).values(sealed_scope=sealed))
    return deletion, public_id


def _erase_pages(records: CompanyRecords, namespace: Namespace, deletion: _Deletion, scope: Scope) -> Iterator[int]:
    """Erase what matches, page by page; yield for each how many of its rows could not be opened."""
    for ids in in_chunks(_candidates(records, namespace, deletion)):
        rows = _page(records, namespace, deletion, ids)
        if deletion.conditions.kind is Kind.SESSION:  # its handle found them: nothing more is asked
            chosen, refused = [row.id for row in rows], 0
        else:
            chosen, refused = _choose(namespace, rows, scope)
        if chosen:
            with records.database.write(finishing=True) as connection:
                now = records.clock()
                versions = with_versions(connection, namespace.id, chosen, deletion.end)
                erase(connection, namespace.id, versions, now, deletion.receipt)
                add_rows(connection, deletion.receipt, len(versions))
                renew_lease(connection, _lease(deletion.receipt), deletion.token, now + _LEASE_US)
        yield refused


def _finish(records: CompanyRecords, deletion: _Deletion) -> None:
    with records.database.write(finishing=True) as connection:
        finish_receipt(connection, deletion.receipt, records.clock())
        drop_lease(connection, _lease(deletion.receipt), deletion.token)


def _lease(receipt: int) -> str:
    return f"delete-{receipt}"


def _candidates(records: CompanyRecords, namespace: Namespace, deletion: _Deletion) -> list[int]:
    """Return the ids of the rows to judge. All at once, from an index alone: by pages, each would read them all."""
    statement = select(memories.c.id).where(memories.c.namespace_id == namespace.id)
    if deletion.conditions.session is not None:
        handle = namespace.key.handle("session", deletion.conditions.session)
        statement = statement.where(memories.c.session == handle)
    with records.database.read() as connection:
        return sorted(row for row in connection.execute(statement).scalars() if row < deletion.end)


def _page(records: CompanyRecords, namespace: Namespace, deletion: _Deletion, ids: Sequence[int]) -> Sequence[Row[Any]]:
    """Return the rows that were present when the deletion began; what replaced them since is not concerned."""
    present = or_(memories.c.closed_at.is_(None), memories.c.closed_by >= deletion.end)
    statement = select(*_COLUMNS).where(memories.c.id.in_(ids), memories.c.state != State.DELETED, present)
    with records.database.read() as connection:
        return [row for row in connection.execute(statement) if row.namespace_id == namespace.id]


def _choose(namespace: Namespace, rows: Sequence[Row[Any]], scope: Scope) -> tuple[list[int], int]:
    """Return the rows within the scope, and how many could not be opened."""
    opened = []
    for row in rows:
        try:
            stored = open_content(namespace, row.id, row.sealed or b"")
        except IntegrityError:
            continue
        opened.append((row.id, attribute_row(row, stored)))
    if refused := len(rows) - len(opened):
        log.error("rows_refused", reason=IntegrityError.code, rows=refused, namespace=namespace.public_id)
    allowed = matches(Attributes.of([attributes for _, attributes in opened]), scope)
    return [row for (row, _), match in zip(opened, allowed, strict=True) if match], refused

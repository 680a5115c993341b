"""Which shards a namespace is made of, and the commits that change that.

The generation is the namespace's clock: every commit that changes the live shards raises it by one. A commit comes too
late when a shard that it replaces is not live any more, or the key that sealed the new one is not the newest; a flush
also when a lease was lost under which it had its rows to itself. Then the worker gets ``StaleGeneration`` and its blob
is garbage. Commits that share nothing pass each other, in any order.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

from sqlalchemy import Connection, Row, bindparam, func, insert, select, update

from core.errors import StaleGeneration
from core.records.claims import finish_jobs, in_chunks
from core.records.leases import Held, refuse_lost
from core.records.members import pack_ids
from core.records.tables import State, memories, namespaces, shards


@dataclass(frozen=True)
class ShardRecord:
    """A shard as the record store lists it."""

    id: int
    public_id: str
    tier: int
    rows: int
    bytes: int
    key_version: int
    fingerprint: str
    created_at: int
    quarantined_at: int | None = None


@dataclass(frozen=True)
class NewShard:
    """A built, sealed and stored shard that a commit makes live."""

    public_id: str
    tier: int
    rows: int
    bytes: int
    key_version: int
    fingerprint: str
    build_s: float
    members: Sequence[int]


@dataclass(frozen=True)
class Absorbed:
    """Masked rows that a shard was built with the knowledge of: left out as deleted, or held as closed."""

    deleted: Sequence[int] = ()
    closed: Sequence[int] = ()


@dataclass(frozen=True)
class NamespaceState:
    """What a reader must know to answer from a consistent set of shards."""

    generation: int
    overlay_version: int
    key_version: int
    fingerprint: str | None


LISTED: Final = [column for column in shards.c if column is not shards.c.members]

# Built once: every search asks for it.
_STATE = select(
    namespaces.c.generation, namespaces.c.overlay_version, namespaces.c.key_version, namespaces.c.fingerprint
).where(namespaces.c.id == bindparam("namespace"), namespaces.c.deleted_at.is_(None))


def namespace_state(connection: Connection, namespace_id: int) -> NamespaceState | None:
    """Return the state of a live namespace, or ``None`` when it was deleted."""
    row = connection.execute(_STATE, {"namespace": namespace_id}).first()
    return NamespaceState(*row) if row else None


def fingerprints(connection: Connection, namespace_id: int) -> set[str]:
    """Return the fingerprints of a namespace's shards and of rows that wait for one."""
    indexed = select(namespaces.c.fingerprint).where(namespaces.c.id == namespace_id)
    waiting = select(memories.c.fingerprint).where(
        memories.c.namespace_id == namespace_id, memories.c.state == State.EMBEDDED
    )
    found = connection.execute(indexed.union(waiting)).scalars()
    return {fingerprint for fingerprint in found if fingerprint is not None}


def live_shards(connection: Connection, namespace_id: int) -> list[ShardRecord]:
    """Return the live shards of a namespace, oldest first; the tail, if there is one, has tier 0."""
    rows = connection.execute(
        select(*LISTED)
        .where(shards.c.namespace_id == namespace_id, shards.c.retired_at.is_(None))
        .order_by(shards.c.id)
    )
    return [shard_record(row) for row in rows]


def shard_record(row: Row[Any]) -> ShardRecord:
    """Return what ``LISTED`` columns say of a shard."""
    return ShardRecord(**{field.name: getattr(row, field.name) for field in fields(ShardRecord)})


def fetch_rows(connection: Connection, namespace_id: int, ids: Sequence[int]) -> Sequence[Row[Any]]:
    """Return the rows of ``ids`` that belong to the namespace, ids ascending.

    By id alone: asked for the namespace as well, SQLite reads the whole namespace through another index.
    """
    rows = connection.execute(select(memories).where(memories.c.id.in_(ids)).order_by(memories.c.id))
    return [row for row in rows if row.namespace_id == namespace_id]


def commit_flush(
    connection: Connection,
    namespace_id: int,
    *,
    held: Sequence[Held],
    added: NewShard | None,
    replaced: Sequence[ShardRecord],
    indexed: Sequence[int],
    absorbed: Absorbed,
    now: int,
) -> None:
    """Make a flush live: its shard in, the tail it rewrote out, its rows indexed, all or nothing.

    ``held`` are the leases under which nobody else had these rows. ``absorbed`` are rows whose deletion or closing the
    new shard already shows. Raises ``StaleGeneration`` when a lease was lost, or the tail is not live any more.
    """
    refuse_lost(connection, held)
    _change(connection, namespace_id, added, replaced, now)
    for ids in in_chunks(indexed):
        arrived = connection.execute(
            update(memories)
            .where(memories.c.id.in_(ids), memories.c.state == State.EMBEDDED)
            .values(state=State.INDEXED, lease=None, lease_until=None)
        ).rowcount
        if arrived < len(ids):
            _refuse_elsewhere(connection, ids, arrived)
    clear_overlay(connection, absorbed)
    finish_jobs(connection, indexed, now)


def commit_compaction(
    connection: Connection,
    namespace_id: int,
    *,
    added: NewShard | None,
    replaced: Sequence[ShardRecord],
    absorbed: Absorbed,
    now: int,
) -> None:
    """Make a compaction live. Raises ``StaleGeneration`` when a shard it replaces is not live any more."""
    _change(connection, namespace_id, added, replaced, now)
    clear_overlay(connection, absorbed)


def clear_overlay(connection: Connection, absorbed: Absorbed) -> None:
    """Forget that rows must be masked, where the live shards now say so themselves.

    A closed row keeps its mark while its successor is not indexed: a search still finds the memory through it. It
    keeps it, too, when it was deleted after the shard was built: the shard still holds it.
    """
    for ids in in_chunks(absorbed.deleted):
        connection.execute(update(memories).where(memories.c.id.in_(ids)).values(overlay=False))
    for ids in in_chunks(absorbed.closed):
        successor = memories.alias("successor")
        arrived = (
            select(successor.c.id)
            .where(successor.c.id == memories.c.closed_by, successor.c.state.in_([State.INDEXED, State.DELETED]))
            .exists()
        )
        connection.execute(
            update(memories)
            .where(memories.c.id.in_(ids), memories.c.state != State.DELETED, arrived)
            .values(overlay=False)
        )


def fail_rows(connection: Connection, rows: Iterable[int], reason: str, now: int) -> None:
    """End rows that cannot be indexed as failed, with a reason that says nothing of their content."""
    for ids in in_chunks(rows):
        connection.execute(
            update(memories)
            .where(memories.c.id.in_(ids), memories.c.state != State.DELETED)
            .values(state=State.FAILED, error=reason, lease=None, lease_until=None)
        )
    finish_jobs(connection, rows, now)


def _refuse_elsewhere(connection: Connection, ids: Sequence[int], arrived: int) -> None:
    """Raise ``StaleGeneration`` when more of these rows are indexed than have just become so: others have them."""
    indexed = select(func.count()).where(memories.c.id.in_(ids), memories.c.state == State.INDEXED)
    if connection.execute(indexed).scalar_one() > arrived:
        raise StaleGeneration("a row was indexed by somebody else meanwhile")


def _advance(connection: Connection, namespace_id: int, added: NewShard | None) -> int:
    """Raise the generation of a live namespace by one, and return it."""
    values: dict[str, Any] = {
        "generation": namespaces.c.generation + 1,
        "overlay_version": namespaces.c.overlay_version + 1,
    }
    if added:
        values["fingerprint"] = added.fingerprint
    statement = update(namespaces).where(namespaces.c.id == namespace_id, namespaces.c.deleted_at.is_(None))
    if added:  # one that was sealed before the key was rotated comes too late
        statement = statement.where(namespaces.c.key_version == added.key_version)
    generation: int | None = connection.execute(statement.values(**values).returning(namespaces.c.generation)).scalar()
    if generation is None:
        raise StaleGeneration("the namespace was deleted, or its key rotated, while a shard was being built")
    return generation


def _change(
    connection: Connection,
    namespace_id: int,
    added: NewShard | None,
    replaced: Sequence[ShardRecord],
    now: int,
) -> None:
    generation = _advance(connection, namespace_id, added)
    if replaced:
        retired = connection.execute(
            update(shards)
            .where(shards.c.id.in_([shard.id for shard in replaced]), shards.c.retired_at.is_(None))
            .values(retired_at=now)
        ).rowcount
        if retired != len(replaced):
            raise StaleGeneration("a shard to be replaced is not live any more")
    if added:
        connection.execute(
            insert(shards).values(
                public_id=added.public_id,
                namespace_id=namespace_id,
                tier=added.tier,
                rows=added.rows,
                bytes=added.bytes,
                key_version=added.key_version,
                fingerprint=added.fingerprint,
                generation=generation,
                build_s=added.build_s,
                members=pack_ids(added.members),
                created_at=now,
            )
        )

"""What a copy of a record store holds, in numbers: to be written into a manifest, or compared with one."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row, and_, case, func, select, text

from core.backup.manifest import CONTROL_NAME, Manifest, SavedCompany
from core.errors import IntegrityError
from core.records.copying import read_copy
from core.records.tables import State, companies, memories, namespaces, shards, store


@dataclass(frozen=True)
class Figures:
    """A namespace: its generation, all its rows, and its memories that are neither deleted nor replaced."""

    generation: int
    rows: int
    memories: int


def live_namespaces(connection: Connection) -> list[Row[Any]]:
    """Return id, public id and sealed name of each live namespace, oldest first."""
    columns = (namespaces.c.id, namespaces.c.public_id, namespaces.c.sealed, namespaces.c.generation)
    return list(connection.execute(select(*columns).where(namespaces.c.deleted_at.is_(None)).order_by(namespaces.c.id)))


def figures(connection: Connection) -> dict[str, Figures]:
    """Return the figures of each live namespace, by public id."""
    present = case((and_(memories.c.state != State.DELETED, memories.c.closed_at.is_(None)), 1))
    counts = {
        row[0]: (row[1], row[2])
        for row in connection.execute(
            select(memories.c.namespace_id, func.count(), func.count(present)).group_by(memories.c.namespace_id)
        )
    }
    return {row.public_id: Figures(row.generation, *counts.get(row.id, (0, 0))) for row in live_namespaces(connection)}


def listed_shards(connection: Connection) -> list[Row[Any]]:
    """Return namespace, id, bytes and quarantine mark of each live shard."""
    return list(
        connection.execute(
            select(
                namespaces.c.public_id.label("namespace"), shards.c.public_id, shards.c.bytes, shards.c.quarantined_at
            )
            .join(namespaces, namespaces.c.id == shards.c.namespace_id)
            .where(shards.c.retired_at.is_(None))
            .order_by(shards.c.id)
        )
    )


def check_copies(folder: Path, manifest: Manifest, store_id: str) -> None:
    """Compare the record stores of a backup with its manifest. Raises ``IntegrityError`` where they differ."""
    with read_copy(folder / CONTROL_NAME) as connection:
        _check_pages(connection)
        same = connection.execute(select(store.c.id)).scalar() == store_id
        known = set(connection.execute(select(companies.c.id)).scalars())
    if not same or known != {company.id for company in manifest.companies}:
        raise IntegrityError("the backup's control store is not the one that its manifest tells of")
    for company in manifest.companies:
        with read_copy(folder / "companies" / company.id / "records.db") as connection:
            _check_pages(connection)
            _check_company(connection, company)


def _check_company(connection: Connection, company: SavedCompany) -> None:
    told = {each.id: Figures(each.generation, each.rows, each.memories) for each in company.namespaces}
    if figures(connection) != told:
        raise IntegrityError(f"the backup of {company.id} holds other memories than its manifest tells of")
    listed = {(row.namespace, row.public_id) for row in listed_shards(connection)}
    if listed != {(shard.namespace, shard.id) for shard in company.shards}:
        raise IntegrityError(f"the backup of {company.id} lacks shards that its record store lists")


def _check_pages(connection: Connection) -> None:
    if connection.execute(text("PRAGMA quick_check")).scalar() != "ok":
        raise IntegrityError("a record store in the backup is not a sound database")

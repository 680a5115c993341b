"""Who holds what while workers share a namespace."""

from typing import Any

from sqlalchemy import func, select

from core.records.tables import leases, memories


def note(number: int, **more: Any) -> dict[str, Any]:
    """Return a memory to write."""
    return {"id": f"n{number}", "content": f"Note {number} about the harbour.", **more}


def leased(server: Any) -> int:
    """Return how many claims and leases are held."""
    with server.records.database.read() as connection:
        held: int = connection.execute(select(func.count()).where(memories.c.lease.is_not(None))).scalar_one()
        return held + connection.execute(select(func.count()).select_from(leases)).scalar_one()


def alive(server: Any) -> set[str]:
    """Return the live shards of the namespace."""
    return {shard.public_id for shard in server.shards()}


def stored(server: Any) -> set[str]:
    """Return the shards that have a blob."""
    return {name.rpartition("/")[2].removesuffix(".shard") for name in server.blobs.names()}

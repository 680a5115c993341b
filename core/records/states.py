"""A namespace's sealed state: its generation, its live shards and the versions of its key, bound together as one value.

A shard's row that was removed, added or put back from an older copy, a key's row likewise, or a generation set back no
longer agrees with it. It is compared where rows become something in memory (a keyring, an opened snapshot) and before
each change, so that a change never seals what somebody else had put there.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

import orjson
from sqlalchemy import Connection, select, update

from core.crypto.envelope import address
from core.crypto.keyring import CompanyKeys
from core.errors import IntegrityError
from core.records.tables import namespace_keys, namespaces, shards

_NAMESPACE = select(
    namespaces.c.public_id, namespaces.c.generation, namespaces.c.key_version, namespaces.c.sealed_state
)
_SHARDS = select(
    shards.c.public_id, shards.c.tier, shards.c.rows, shards.c.bytes, shards.c.key_version, shards.c.fingerprint
)


def check_state(connection: Connection, key: CompanyKeys, namespace_id: int) -> None:
    """Compare a live namespace with its sealed state; one that was deleted has none.

    Raises ``IntegrityError`` (``rolled_back``) where they differ, ``KeyUnusable``.
    """
    row = connection.execute(
        _NAMESPACE.where(namespaces.c.id == namespace_id, namespaces.c.deleted_at.is_(None))
    ).first()
    if row is None:
        return
    if row.sealed_state is None:
        raise IntegrityError(f"the sealed state of namespace {row.public_id} is missing")
    sealed = key.open(row.sealed_state, "state", row.public_id)
    if sealed != _state(connection, namespace_id, row):
        raise IntegrityError(
            f"the shards, keys or generation of namespace {row.public_id} are not those last committed: rows were "
            "removed, added or put back. Restore a backup; or take it as it is: ostraka accept-rollback --company NAME",
            code="rolled_back",
        )


def seal_state(connection: Connection, key: CompanyKeys, namespace_id: int) -> None:
    """Seal the state of a live namespace as this transaction has it."""
    row = connection.execute(
        _NAMESPACE.where(namespaces.c.id == namespace_id, namespaces.c.deleted_at.is_(None))
    ).first()
    if row is None:
        return
    sealed = key.seal(_state(connection, namespace_id, row), "state", row.public_id)
    connection.execute(update(namespaces).where(namespaces.c.id == namespace_id).values(sealed_state=sealed))


def seal_states(connection: Connection, key: CompanyKeys) -> None:
    """Seal the state of every live namespace as it is: after an upgrade, or when the operator takes it so."""
    for namespace_id in live_ids(connection):
        seal_state(connection, key, namespace_id)


def live_ids(connection: Connection) -> Sequence[int]:
    """Return the row ids of the live namespaces, oldest first."""
    live = select(namespaces.c.id).where(namespaces.c.deleted_at.is_(None)).order_by(namespaces.c.id)
    return connection.execute(live).scalars().all()


def _state(connection: Connection, namespace_id: int, row: Any) -> bytes:
    versions = select(namespace_keys.c.version).where(namespace_keys.c.namespace_id == namespace_id)
    live = _SHARDS.where(shards.c.namespace_id == namespace_id, shards.c.retired_at.is_(None)).order_by(shards.c.id)
    digest = hashlib.sha256(b"".join(address(*shard) for shard in connection.execute(live)))
    return orjson.dumps(
        {
            "generation": row.generation,
            "key_version": row.key_version,
            "keys": sorted(connection.execute(versions).scalars()),
            "shards": digest.hexdigest(),
        }
    )

"""Opening sealed memory rows: content, vectors, and what a shard holds of them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from sqlalchemy import Row

from core.clock import to_us
from core.errors import IntegrityError
from core.memory import Stored
from core.records.company import Namespace
from core.shards.attributes import AttributeRow
from core.shards.builder import ShardRow
from core.text.dates import with_date

Vectors = npt.NDArray[np.float32]
TABLE = "memories"


def open_content(namespace: Namespace, row_id: int, sealed: bytes) -> Stored:
    """Return a row's content. Raises ``IntegrityError`` when it was changed or moved."""
    return Stored.from_bytes(namespace.key.open_row(sealed, TABLE, row_id, "content"))


def seal_vectors(namespace: Namespace, row_id: int, vectors: Vectors) -> bytes:
    """Seal the vectors of a row, float32[k, dim], little-endian."""
    return namespace.key.seal_row(vectors.astype("<f4").tobytes(), TABLE, row_id, "vectors")


def open_vectors(namespace: Namespace, row_id: int, sealed: bytes, dim: int) -> Vectors:
    """Return the vectors of a row, float32[k, dim]. Raises ``IntegrityError``."""
    flat = np.frombuffer(namespace.key.open_row(sealed, TABLE, row_id, "vectors"), "<f4")
    if len(flat) == 0 or len(flat) % dim:
        raise IntegrityError("a row's vectors have the wrong size")
    return flat.reshape(-1, dim)


def searchable_text(stored: Stored) -> str:
    """Return the text that is embedded and indexed."""
    return with_date(stored.content, stored.occurred_at)


def session_key(session: bytes | None) -> int:
    """Return the 64-bit key under which a shard groups a session, from the HMAC of its name."""
    return int.from_bytes(session[:8], "big") or 1 if session else 0


def attribute_row(row: Row[Any], stored: Stored) -> AttributeRow:
    """Return what filters may ask of a row."""
    return AttributeRow(
        id=row.id,
        created_at=row.created_at,
        occurred_at=to_us(stored.occurred_at) if stored.occurred_at else None,
        expires_at=row.expires_at,
        closed_at=row.closed_at,
        session=stored.session,
        tags=stored.tags,
        importance=stored.importance,
        metadata=stored.metadata,
    )


def shard_rows(
    namespace: Namespace, rows: Sequence[Row[Any]], fingerprint: str, dim: int
) -> tuple[list[ShardRow], list[int]]:
    """Open rows for a shard; return them, and the ids of those that are broken and cannot be indexed.

    Rows that were erased meanwhile are left out of both.
    """
    opened, broken = [], []
    for row in rows:
        if row.sealed is None or row.sealed_vectors is None:
            continue
        if row.fingerprint != fingerprint:  # models are never mixed in a shard
            broken.append(row.id)
            continue
        try:
            stored = open_content(namespace, row.id, row.sealed)
            vectors = open_vectors(namespace, row.id, row.sealed_vectors, dim)
        except IntegrityError:
            broken.append(row.id)
            continue
        attributes = attribute_row(row, stored)
        opened.append(ShardRow(attributes, session_key(row.session), searchable_text(stored), vectors))
    return opened, broken

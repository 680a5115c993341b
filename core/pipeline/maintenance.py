"""The maintain stage: what nobody asked for but somebody must do. Every step is idempotent."""

from sqlalchemy import delete, select

from core.pipeline.doorbell import EMBED, EMBED_BULK, INDEX
from core.pipeline.indexing import IndexStage
from core.records.claims import has_pending
from core.records.company import CompanyRecords
from core.records.deletion import expire
from core.records.tables import Lane, State, memories, namespaces, shards

READER_GRACE_S = 60.0  # how long a retired shard stays for readers that listed it before
_EXPIRE_ROWS = 1_000


def forgotten_work(records: CompanyRecords) -> list[str]:
    """Return the queues whose doorbell should ring again: work waits there and nobody has claimed it."""
    now = records.clock()
    with records.database.read() as connection:
        queues = [
            queue
            for queue, lane in ((EMBED, Lane.INTERACTIVE), (EMBED_BULK, Lane.BULK))
            if has_pending(connection, lane, now)
        ]
        embedded = connection.execute(select(memories.c.id).where(memories.c.state == State.EMBEDDED).limit(1)).first()
    return [*queues, INDEX] if embedded else queues


def collect_garbage(records: CompanyRecords, index: IndexStage) -> int:
    """Delete the blobs of shards retired longer ago than any reader needs them; return how many."""
    deadline = records.clock() - int(READER_GRACE_S * 1e6)
    with records.database.read() as connection:
        retired = connection.execute(
            select(shards.c.id, shards.c.public_id, namespaces.c.public_id.label("namespace"))
            .join(namespaces, namespaces.c.id == shards.c.namespace_id)
            .where(shards.c.retired_at <= deadline)
        ).all()
    for row in retired:
        index.discard(row.namespace, row.public_id)
    if retired:
        with records.database.write() as connection:
            for row in retired:
                connection.execute(delete(shards).where(shards.c.id == row.id))
    return len(retired)


def expire_memories(records: CompanyRecords) -> int:
    """Delete every memory whose time has run out, in bounded transactions; return how many."""
    total = 0
    while (expired := expire(records, _EXPIRE_ROWS)) > 0:
        total += expired
    return total

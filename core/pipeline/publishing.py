"""Making a built shard live, together with what its build showed of its rows."""

from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from sqlalchemy import Connection

from core.errors import StaleGeneration
from core.observing.observer import Observer
from core.pipeline.building import UNINDEXABLE, Built, ShardBuilder
from core.pipeline.embedding import BROKEN
from core.records.company import CompanyRecords, Namespace
from core.records.shardlist import fail_rows

log = structlog.get_logger()


class Publisher:
    """Opens the transactions in which the shards of one company become live."""

    def __init__(self, records: CompanyRecords, builder: ShardBuilder, observer: Observer) -> None:
        self._records = records
        self._builder = builder
        self._observer = observer

    @contextmanager
    def committing(self, namespace: Namespace, built: Built) -> Iterator[Connection]:
        """Yield the transaction that makes a shard live; one that was overtaken is removed: nobody ever lists it."""
        try:
            with self._observer.stage("publish"), self._records.committing(namespace.id) as connection:
                yield connection
        except StaleGeneration:
            self._observer.overtaken()
            if built.shard:
                self._builder.discard(namespace.public_id, built.shard.public_id)
            raise

    def fail(self, connection: Connection, namespace: Namespace, built: Built, now: int) -> None:
        """End the rows that no shard can be built with."""
        for reason, rows in ((BROKEN, built.broken), (UNINDEXABLE, built.poison)):
            fail_rows(connection, rows, reason, now)
            self._observer.failed(reason, len(rows))
        if built.poison:
            log.error("rows_refused", reason=UNINDEXABLE, rows=len(built.poison), namespace=namespace.public_id)

"""Counting what a data directory holds, beneath the API: rows, claims, leases, and the contents of live shards."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from sqlalchemy import func, select

from core.records.company import CompanyRecords, Namespace
from core.records.control import DEFAULT_COMPANY, ControlStore, open_control
from core.records.rows import open_content, open_vectors
from core.records.shardlist import live_shards, namespace_state
from core.records.tables import State, leases, memories
from core.settings import load_settings
from core.shards.blobs import LocalBlobs
from core.shards.cache import ShardCache
from core.shards.opening import open_shard

DIM = 384  # of the default model


class Auditor:
    """Reads the stores that the servers under test are writing, with their own key."""

    def __init__(self, data: Path, environment: Mapping[str, str]) -> None:
        self._data = data
        self._environment = environment
        self._control: ControlStore | None = None

    @property
    def records(self) -> CompanyRecords:
        if self._control is None:
            self._control = open_control(load_settings(None, {"storage": {"path": self._data}}), self._environment)
        return self._control.records(self._control.find_company(DEFAULT_COMPANY).id)

    def namespace(self, name: str = "audited") -> Namespace:
        return self.records.namespace(name)

    def generation(self) -> int:
        with self.records.database.read() as connection:
            state = namespace_state(connection, self.namespace().id)
        assert state is not None
        return state.generation

    def states(self) -> Counter[str]:
        with self.records.database.read() as connection:
            return Counter(dict(connection.execute(select(memories.c.state, func.count()).group_by("state")).all()))

    def claimed(self) -> int:
        """How many rows are held by a lease that has not run out."""
        held = memories.c.lease_until > self.records.clock()
        with self.records.database.read() as connection:
            return connection.execute(
                select(func.count()).where(memories.c.state == State.PENDING, memories.c.lease.is_not(None), held)
            ).scalar_one()

    def lease(self, prefix: str) -> bool:
        """Whether a named lease is held."""
        with self.records.database.read() as connection:
            return connection.execute(select(leases).where(leases.c.name.startswith(prefix))).first() is not None

    def shards(self) -> list[str]:
        with self.records.database.read() as connection:
            return [shard.public_id for shard in live_shards(connection, self.namespace().id)]

    def snapshot(self) -> tuple[object, ...]:
        """Everything that a message delivered once more must not change."""
        with self.records.database.read() as connection:
            rows = connection.execute(
                select(memories.c.id, memories.c.state, memories.c.attempts, memories.c.version)
                .where(memories.c.namespace_id == self.namespace().id)
                .order_by(memories.c.id)
            ).all()
        return self.generation(), self.shards(), rows

    def check_shards(self, count: int) -> None:
        """Live shards hold each present memory exactly once, with the vector that its row holds."""
        namespace, records = self.namespace(), self.records
        with records.database.read() as connection:
            present = connection.execute(
                select(memories).where(memories.c.namespace_id == namespace.id, memories.c.closed_at.is_(None))
            ).all()
            shards = live_shards(connection, namespace.id)
        assert len(present) == count
        assert {row.state for row in present} == {State.INDEXED}
        texts = Counter(open_content(namespace, row.id, row.sealed).content for row in present)
        assert set(texts.values()) == {1}
        held: Counter[int] = Counter()
        blobs = LocalBlobs(records.folder / "shards")
        with ShardCache(Path("/dev/shm"), self._data, 2**30) as cache:
            for shard in shards:
                opened = open_shard(cache, blobs, namespace.key, shard.public_id, shard.fingerprint)
                held.update(np.unique(opened.ids).tolist())
                assert shard.rows == len(np.unique(opened.ids))
        assert held == Counter(row.id for row in present)
        assert all(open_vectors(namespace, row.id, row.sealed_vectors, DIM).size for row in present[::50])

    def close(self) -> None:
        if self._control is not None:
            self._control.close()

"""Counting what a data directory holds, beneath the API: rows, claims, leases, and the contents of live shards."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from sqlalchemy import func, select

from core.errors import IntegrityError
from core.records.companies import DEFAULT_COMPANY
from core.records.company import CompanyRecords, Namespace
from core.records.control import ControlStore, open_control
from core.records.rows import open_content, open_vectors
from core.records.shardlist import ShardRecord, live_shards, namespace_state
from core.records.tables import State, jobs, leases, memories
from core.settings import ENV_DATABASE_URL, load_settings
from core.shards.blobs import LocalBlobs
from core.shards.cache import ShardCache
from core.shards.opening import open_shard
from core.shards.sealing import blob_name, check_shard

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
            storage = {"path": self._data, "database_url": self._environment.get(ENV_DATABASE_URL, "")}
            self._control = open_control(load_settings(None, {"storage": storage}), self._environment)
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

    def flushing(self) -> bool:
        return self.lease("flush-")

    def shards(self) -> list[str]:
        with self.records.database.read() as connection:
            return [shard.public_id for shard in live_shards(connection, self.namespace().id)]

    def blobs(self, name: str) -> list[Path]:
        """The sealed files of a namespace's live shards."""
        namespace = self.namespace(name)
        folder = self.records.folder / "shards"
        with self.records.database.read() as connection:
            return [folder / blob_name(namespace.public_id, s.public_id) for s in live_shards(connection, namespace.id)]

    def damaged(self, name: str) -> list[str]:
        """The live shards of a namespace that are in quarantine, or whose sealed files are not what was put."""
        namespace, blobs = self.namespace(name), LocalBlobs(self.records.folder / "shards")
        with self.records.database.read() as connection:
            shards = live_shards(connection, namespace.id)
        return [shard.public_id for shard in shards if shard.quarantined_at or not _sound(blobs, namespace, shard)]

    def snapshot(self) -> tuple[object, ...]:
        """Everything that a message delivered once more must not change."""
        with self.records.database.read() as connection:
            rows = connection.execute(
                select(memories.c.id, memories.c.state, memories.c.attempts, memories.c.version)
                .where(memories.c.namespace_id == self.namespace().id)
                .order_by(memories.c.id)
            ).all()
        return self.generation(), self.shards(), rows

    def check_shards(self, count: int, name: str = "audited") -> None:
        """Live shards hold each present memory exactly once, with the vector that its row holds."""
        namespace, records = self.namespace(name), self.records
        with records.database.read() as connection:
            present = connection.execute(
                select(memories).where(memories.c.namespace_id == namespace.id, memories.c.closed_at.is_(None))
            ).all()
            shards = live_shards(connection, namespace.id)
        assert len(present) == count
        assert {row.state for row in present} == {State.INDEXED}
        texts = Counter(open_content(namespace, row.id, row.sealed).content for row in present)
        assert set(texts.values()) == {1}
        assert self._held(namespace, shards) == Counter(row.id for row in present)
        assert all(open_vectors(namespace, row.id, row.sealed_vectors, DIM).size for row in present[::50])

    def unfinished_jobs(self) -> int:
        with self.records.database.read() as connection:
            return connection.execute(select(func.count()).where(jobs.c.finished_at.is_(None))).scalar_one()

    def failed_jobs(self) -> list[str]:
        """Jobs with memories that ended as failed."""
        failed = select(jobs.c.public_id).join(memories).where(memories.c.state == State.FAILED).distinct()
        with self.records.database.read() as connection:
            return list(connection.execute(failed).scalars())

    def check_sums(self) -> None:
        """Every row that a job accepted is there, and every row that is there was accepted by a job."""
        rows = select(memories.c.job_id, func.count().label("rows")).group_by(memories.c.job_id).subquery()
        counted = select(jobs.c.accepted, func.coalesce(rows.c.rows, 0)).outerjoin(rows, rows.c.job_id == jobs.c.id)
        with self.records.database.read() as connection:
            found = connection.execute(counted).all()
            orphans = connection.execute(select(func.count()).where(~memories.c.job_id.in_(select(jobs.c.id)))).scalar()
        assert [pair for pair in found if pair[0] != pair[1]] == []
        assert orphans == 0

    def check_index(self, name: str) -> None:
        """Each indexed row is in exactly one live shard; what else the shards hold was deleted, and is masked."""
        namespace, records = self.namespace(name), self.records
        with records.database.read() as connection:
            shards = live_shards(connection, namespace.id)
            rows = connection.execute(
                select(memories.c.id, memories.c.state, memories.c.overlay).where(
                    memories.c.namespace_id == namespace.id
                )
            ).all()
        held = self._held(namespace, shards)
        assert [row for row, count in held.items() if count > 1] == []
        assert {row.id for row in rows if row.state == State.INDEXED} <= held.keys()
        strays = [row for row in rows if row.id in held and row.state != State.INDEXED]
        assert [row for row in strays if row.state != State.DELETED or not row.overlay] == []

    def _held(self, namespace: Namespace, shards: Sequence[ShardRecord]) -> Counter[int]:
        """How many live shards hold each row."""
        held: Counter[int] = Counter()
        blobs = LocalBlobs(self.records.folder / "shards")
        with ShardCache(Path("/dev/shm"), self._data, 2**30) as cache:
            for shard in shards:
                opened = open_shard(cache, blobs, namespace.key, shard.public_id, shard.fingerprint)
                ids = np.unique(opened.ids)
                assert shard.rows == len(ids)
                held.update(ids.tolist())
        return held

    def close(self) -> None:
        if self._control is not None:
            self._control.close()
            self._control = None


def _sound(blobs: LocalBlobs, namespace: Namespace, shard: ShardRecord) -> bool:
    try:
        check_shard(blobs, namespace.key, shard.public_id)
    except IntegrityError:
        return False
    return True

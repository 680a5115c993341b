"""One company's record store under a clock that the test moves, on each backend."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Row, select

from core.ids import new_id
from core.memory import NewMemory
from core.records.claims import claim_pending, store_vectors
from core.records.company import CompanyRecords, Namespace
from core.records.control import ControlStore, open_control
from core.records.leases import Held
from core.records.rows import seal_vectors
from core.records.shardlist import (
    Absorbed,
    NewShard,
    ShardRecord,
    commit_flush,
    live_shards,
    namespace_state,
)
from core.records.tables import Lane, memories
from core.records.waiting import embedded_ids
from core.records.writes import Accepted, WriteRequest, commit_writes
from core.settings import Settings
from tests.stores import BOTH, SQLITE, choose

MODEL = "tiny:int8:0000000000000000"
VECTOR = np.array([[1.0, 0.0, 0.0]], np.float32)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Whatever opens a store here runs on both kinds, unless its module says on which."""
    choose(metafunc, BOTH if "open_store" in metafunc.fixturenames else SQLITE)


class ManualClock:
    """Microseconds that pass only when told to."""

    def __init__(self) -> None:
        self.now = 1_700_000_000_000_000

    def __call__(self) -> int:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += int(seconds * 1e6)


class Desk:
    """Short forms of what workers and the API do with a record store; no embedding, no files."""

    def __init__(self, records: CompanyRecords, clock: ManualClock) -> None:
        self.records = records
        self.clock = clock

    def namespace(self, name: str = "notes") -> Namespace:
        return self.records.ensure_namespace(name)

    def request(
        self, *items: str | dict[str, Any], namespace: str = "notes", lane: Lane = Lane.INTERACTIVE, **more: Any
    ) -> WriteRequest:
        given = [NewMemory.model_validate({"content": item} if isinstance(item, str) else item) for item in items]
        return WriteRequest(self.namespace(namespace), given, lane, **more)

    def write(self, *items: str | dict[str, Any], **more: Any) -> Accepted:
        return self.commit(self.request(*items, **more))[0]

    def commit(self, *requests: WriteRequest) -> list[Accepted]:
        with self.records.database.write() as connection:
            return commit_writes(connection, requests, self.clock())

    def claim(
        self, limit: int = 1_000, lane: Lane = Lane.INTERACTIVE, lease_s: float = 60, attempts_max: int = 5, **more: Any
    ) -> tuple[str, list[int]]:
        now, lease_us = self.clock(), int(lease_s * 1e6)
        with self.records.database.write() as connection:
            claim = claim_pending(
                connection, lane, now=now, lease_us=lease_us, limit=limit, attempts_max=attempts_max, **more
            )
        return claim.token, [row.id for row in claim.rows]

    def store(self, token: str, rows: list[int], vector: np.ndarray = VECTOR) -> int:
        sealed = [
            (row, seal_vectors(self.records.namespace_by_id(self.row(row).namespace_id), row, vector)) for row in rows
        ]
        with self.records.database.write() as connection:
            return store_vectors(connection, token, sealed, MODEL)

    def embed(self, lane: Lane = Lane.INTERACTIVE) -> list[int]:
        """Embed all that can be claimed; those tried before come by themselves."""
        embedded: list[int] = []
        while (claimed := self.claim(lane=lane, attempts_max=1_000))[1]:
            token, rows = claimed
            assert self.store(token, rows) == len(rows)
            embedded += rows
        return embedded

    def generation(self, namespace: Namespace) -> int:
        with self.records.database.read() as connection:
            state = namespace_state(connection, namespace.id)
        assert state is not None
        return state.generation

    def shards(self, namespace: Namespace) -> list[ShardRecord]:
        with self.records.database.read() as connection:
            return live_shards(connection, namespace.id)

    def new_shard(self, rows: int = 1, tier: int = 0) -> NewShard:
        return NewShard(new_id("sh"), tier, rows, 1_000, 1, MODEL, 0.1, range(1, rows + 1))

    def flush(self, namespace: Namespace, *, held: Sequence[Held] = (), tier: int = 0, **more: Any) -> list[int]:
        """Commit a shard of everything embedded, beside the shards there are."""
        with self.records.database.read() as connection:
            fresh = sorted(row for lane in Lane for row in embedded_ids(connection, namespace.id, lane, 1_000))
        with self.records.database.write() as connection, self.records.changing(connection, namespace.id):
            commit_flush(
                connection,
                namespace.id,
                held=held,
                added=self.new_shard(len(fresh), tier),
                replaced=more.get("replaced", []),
                indexed=fresh,
                absorbed=more.get("absorbed", Absorbed()),
                now=self.clock(),
            )
        return fresh

    def row(self, row_id: int) -> Row[Any]:
        with self.records.database.read() as connection:
            return connection.execute(select(memories).where(memories.c.id == row_id)).one()

    def rows(self, namespace: Namespace) -> list[Row[Any]]:
        with self.records.database.read() as connection:
            statement = select(memories).where(memories.c.namespace_id == namespace.id).order_by(memories.c.id)
            return list(connection.execute(statement))


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def server_settings(copied_settings: Settings) -> Settings:
    """Those of a store that is made already."""
    return copied_settings


@pytest.fixture
def open_store(server_settings: Settings, clock: ManualClock) -> Iterator[Callable[[], ControlStore]]:
    """Open the store once more, as another process would: own connections, own caches."""
    opened: list[ControlStore] = []

    def again() -> ControlStore:
        opened.append(open_control(server_settings, clock=clock))
        return opened[-1]

    yield again
    for store in opened:
        store.close()


@pytest.fixture
def open_desk(open_store: Callable[[], ControlStore], clock: ManualClock) -> Callable[[], Desk]:
    def again() -> Desk:
        store = open_store()
        return Desk(store.records(store.companies()[0].id), clock)

    return again


@pytest.fixture
def desk(open_desk: Callable[[], Desk]) -> Desk:
    return open_desk()

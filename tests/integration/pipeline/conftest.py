"""One server's worth of parts in this process: real store, real model, real shards; rings go to a list."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol

import pytest

from core import limits
from core import runtime as composition
from core.embedding.runtime import Embedder
from core.memory import NewMemory
from core.pipeline import resealing
from core.pipeline.indexing import IndexStage
from core.records.company import Namespace
from core.records.deletion import delete_memory
from core.records.reading import JobView, count_states, get_job
from core.records.shardlist import ShardRecord, live_shards
from core.records.tables import Lane, State, memories
from core.records.writes import Accepted, WriteRequest
from core.runtime import Runtime
from core.search.request import Hit, Scope, SearchRequest
from core.settings import Settings
from core.shards.blobs import Blobs, LocalBlobs
from core.shards.builder import GraphSettings
from core.shards.opening import open_shard
from core.shards.reader import OpenShard


class ManualClock:
    """Microseconds that pass only when told to."""

    def __init__(self) -> None:
        self.now = 1_700_000_000_000_000

    def __call__(self) -> int:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += int(seconds * 1e6)


class Server:
    """A runtime with one company, and short forms of what its processes do."""

    def __init__(self, settings: Settings, clock: ManualClock) -> None:
        self.rings: list[tuple[str, str]] = []
        self.clock = clock
        self.closed = False
        self.runtime = Runtime(settings, lambda queue, company: self.rings.append((queue, company)))
        self.runtime.control.clock = clock
        self.company = self.runtime.control.companies()[0].id
        self.tenant = self.runtime.tenant(self.company)
        self.records = self.tenant.records
        self.blobs = self.runtime.control.depot.of(self.company)

    def namespace(self, name: str = "notes") -> Namespace:
        return self.records.ensure_namespace(name)

    def write(self, *items: str | dict[str, Any], namespace: str = "notes", lane: Lane = Lane.INTERACTIVE) -> Accepted:
        given = [NewMemory.model_validate({"content": item} if isinstance(item, str) else item) for item in items]
        request = WriteRequest(self.namespace(namespace), given, lane)
        return self.tenant.committer.submit(request).result(timeout=60)

    def embed(self) -> None:
        for lane in Lane:
            self.runtime.embed(self.company, lane)

    def index(self) -> None:
        self.runtime.index(self.company)

    def settle(self) -> None:
        """Let the workers do everything that waits, short of maintenance."""
        self.embed()
        self.index()

    def maintain(self) -> None:
        self.runtime.maintain(self.company)

    def delete(self, memory_id: str, namespace: str = "notes") -> None:
        delete_memory(self.records, self.namespace(namespace), memory_id)

    def search(
        self,
        query: str,
        *,
        namespace: str = "notes",
        mode: str = "hybrid",
        limit: int = 10,
        **scope: Any,
    ) -> Sequence[Hit]:
        request = SearchRequest(query, limit, mode, Scope(**scope))  # type: ignore[arg-type]
        return self.tenant.query.search(self.namespace(namespace), request).hits

    def ids(self, query: str, **more: Any) -> list[str]:
        return [hit.memory.id for hit in self.search(query, **more)]

    def contents(self, query: str, **more: Any) -> list[str]:
        return [hit.memory.content for hit in self.search(query, **more)]

    def job(self, accepted: Accepted) -> JobView:
        return get_job(self.records, accepted.job_id)

    def shards(self, namespace: str = "notes") -> list[ShardRecord]:
        with self.records.database.read() as connection:
            return live_shards(connection, self.namespace(namespace).id)

    def opened(self, namespace: str = "notes") -> list[OpenShard]:
        key = self.namespace(namespace).key
        return [
            open_shard(self.runtime.cache, self.blobs, key, shard.public_id, shard.fingerprint)
            for shard in self.shards(namespace)
        ]

    def states(self, namespace: str = "notes") -> dict[str, int]:
        with self.records.database.read() as connection:
            return count_states(connection, self.namespace(namespace).id)

    def row_ids(self, memory_id: str, namespace: str = "notes") -> list[int]:
        handle = self.namespace(namespace).key.handle("memory", memory_id)
        with self.records.database.read() as connection:
            found = connection.execute(memories.select().where(memories.c.handle == handle).order_by(memories.c.id))
            return [row.id for row in found]

    def held(self, namespace: str = "notes") -> list[int]:
        """Return every row id of the live shards; one held twice comes twice."""
        return sorted(int(id_) for shard in self.opened(namespace) for id_ in shard.ids)

    def check(self, namespace: str = "notes") -> None:
        """Every indexed memory is in exactly one live shard, no other is in any but those just deleted."""
        with self.records.database.read() as connection:
            found = connection.execute(memories.select().where(memories.c.namespace_id == self.namespace(namespace).id))
            rows = {row.id: row for row in found}
        held = Counter(self.held(namespace))
        indexed = {id_ for id_, row in rows.items() if row.state == State.INDEXED}
        assert all(count == 1 for count in held.values())
        assert indexed <= set(held)
        for stray in set(held) - indexed:
            assert rows[stray].state == State.DELETED
            assert rows[stray].overlay
        assert sum(shard.rows for shard in self.shards(namespace)) == len(list(held.elements()))

    def small_graphs(self, rows_min: int) -> IndexStage:
        """Return an index stage like the server's that builds graphs for small shards already."""
        return IndexStage(
            self.records,
            self.blobs,
            self.runtime.cache,
            self.runtime.embedder,
            GraphSettings(m=8, ef_construction=50, threads=2, rows_min=rows_min),
        )

    def close(self) -> None:
        if not self.closed:
            self.runtime.close()
        self.closed = True


class Opener(Protocol):
    """Start a server, with other settings than the usual ones if need be."""

    def __call__(self, settings: Settings | None = None) -> Server: ...


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def server_settings(copied_settings: Settings) -> Settings:
    """Those of a store that is made already."""
    return copied_settings


@pytest.fixture
def share_model(embedder: Embedder) -> Iterator[None]:
    """Give every runtime of a test the session's model: opening it takes longer than most tests.

    With patches of its own: a test that undoes its own would have its runtime close the model of all others.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(composition, "open_embedder", lambda *_: embedder)
        patch.setattr(Embedder, "close", lambda _: None)
        yield


@pytest.fixture
def open_server(share_model: None, server_settings: Settings, clock: ManualClock) -> Iterator[Opener]:
    """Start a server on the test's data; one after a ``close`` is a restart, a second one another process."""
    started: list[Server] = []

    def start(settings: Settings | None = None) -> Server:
        started.append(Server(settings or server_settings, clock))
        return started[-1]

    yield start
    for server in started:
        server.close()


@pytest.fixture
def server(open_server: Opener) -> Server:
    return open_server()


@pytest.fixture
def small_batches(open_server: Opener, server_settings: Settings) -> Server:
    """A server whose embed worker claims eight rows at a time."""
    embeddings = server_settings.embeddings.model_copy(update={"batch_size": 8})
    return open_server(server_settings.model_copy(update={"embeddings": embeddings}))


@pytest.fixture
def restart(open_server: Opener) -> Callable[[Server], Server]:
    """Stop a server and start one on the same data."""

    def again(server: Server) -> Server:
        server.close()
        return open_server()

    return again


@pytest.fixture
def during_build(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Do something once, after a shard was built and stored and before it is committed."""

    def plan(action: Callable[[], object], kind: type[Blobs] = LocalBlobs) -> None:
        put = kind.put

        def put_then_act(blobs: Blobs, name: str, chunks: Iterable[bytes]) -> int:
            size = put(blobs, name, chunks)
            monkeypatch.setattr(kind, "put", put)
            action()
            return size

        monkeypatch.setattr(kind, "put", put_then_act)

    return plan


@pytest.fixture
def small_tiers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let shards seal and merge at sizes a test can afford."""
    monkeypatch.setattr(limits, "TAIL_ROWS_MAX", 8)
    monkeypatch.setattr(limits, "BULK_SHARD_ROWS", 32)
    monkeypatch.setattr(limits, "TIER_FACTOR", 3)
    monkeypatch.setattr(limits, "SHARD_ROWS_MAX", 200)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not sleep between batches, and reseal a few rows in each."""
    monkeypatch.setattr(resealing, "_BATCH_ROWS", 3)
    monkeypatch.setattr(resealing.time, "sleep", lambda _: None)

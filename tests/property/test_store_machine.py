"""The whole store against a dict: whatever is done to it in whatever order, it answers what the model answers.

The embedder is a tiny deterministic one, so that the machine spends its time on the store. Everything else is real:
the record store, sealing, shards, compaction, garbage collection, reopening, and crashes between a shard's put and its
commit.
"""

from collections import Counter
from contextlib import ExitStack
from functools import partial

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import select
from store_checks import StoreChecks
from store_model import Crash, Model, Row, TinyEmbedder

from core import limits
from core import runtime as composition
from core.errors import NotFound
from core.memory import NewMemory
from core.pipeline.maintenance import READER_GRACE_S, collect_garbage, expire_memories
from core.records.deletion import delete_memory
from core.records.reading import count_states
from core.records.tables import Lane, jobs, memories
from core.records.writes import WriteRequest
from core.runtime import Runtime
from core.shards.blobs import LocalBlobs
from core.shards.builder import GraphSettings
from tests.property.conftest import LendStore
from tests.stores import BOTH

RECORD_STORES = BOTH
EXAMPLES = {"sqlite": 12, "postgres": 3}

NAMES = st.sampled_from(["alpha", "beta"])
IDS = st.sampled_from(["m0", "m1", "m2"])
ITEMS = st.lists(  # (id, supersedes, seconds to live)
    st.tuples(
        st.sampled_from([None, "m0", "m1", "m2", "m0", "m1", "m2"]),
        st.sampled_from([None, None, None, "m0", "m1"]),
        st.sampled_from([None, None, None, 20, 90]),
    ),
    min_size=1,
    max_size=4,
)
WORK = st.sampled_from(
    [
        *("embed interactive", "embed bulk", "index", "settle", "compact", "purge", "collect", "expire"),
        *("reopen", "crash index", "crash compact", "check"),
    ]
)
LANES = st.sampled_from([Lane.INTERACTIVE, Lane.INTERACTIVE, Lane.BULK])


class StoreMachine(StoreChecks, RuleBasedStateMachine):
    """Rules are what the API and the workers do."""

    lend_store: LendStore

    @initialize()
    def start(self) -> None:
        self.kept = ExitStack()
        self.patch = self.kept.enter_context(pytest.MonkeyPatch.context())
        self.lent = self.kept.enter_context(type(self).lend_store())
        for name, value in {"TAIL_ROWS_MAX": 4, "BULK_SHARD_ROWS": 8, "TIER_FACTOR": 2, "SHARD_ROWS_MAX": 30}.items():
            self.patch.setattr(limits, name, value)
        self.patch.setattr(composition, "open_embedder", lambda *_: TinyEmbedder())
        self.patch.setattr(composition, "GraphSettings", partial(GraphSettings, rows_min=10))
        self.now = 1_700_000_000_000_000
        self.model = Model()
        self.open()

    def open(self) -> None:
        self.runtime = Runtime(self.lent, lambda *_: None)
        self.runtime.control.clock = lambda: self.now
        self.company = self.runtime.control.companies()[0].id
        self.tenant = self.runtime.tenant(self.company)
        self.records = self.tenant.records

    def rows(self):
        return [row for rows in self.model.namespaces.values() for row in rows]

    def stored_state(self, row: Row) -> str:
        with self.records.database.read() as connection:
            return connection.execute(memories.select().where(memories.c.id == row.row)).one().state

    # --- what callers do --------------------------------------------------------------------------------

    @rule(name=NAMES, items=ITEMS, lane=LANES, then=st.sampled_from(["", "", "embed", "settle"]))
    def write(self, name, items, lane, then) -> None:
        self.add(name, items, lane)
        if then == "embed":
            self.embed(lane)
        elif then == "settle":
            self.settle()

    @rule(name=NAMES, id_=IDS, lane=LANES)
    def update(self, name, id_, lane) -> None:
        self.add(name, [(id_, None, None)], lane)

    def add(self, name, items, lane) -> None:
        given, made = [], []
        self.model.namespaces.setdefault(name, [])
        for id_, supersedes, ttl in items:
            self.model.written += 1
            marker = f"zq{self.model.written}x"
            given.append(
                NewMemory(
                    id=id_,
                    content=f"Remember {marker} well.",
                    supersedes=supersedes if supersedes != id_ else None,
                    ttl_seconds=ttl,
                )
            )
            expires_at = self.now + ttl * 1_000_000 if ttl else None
            previous = self.model.open_version(name, id_) if id_ else None
            version = previous.version + 1 if previous else 1
            row = Row(0, id_ or "", marker, lane, version, self.now, expires_at)
            superseded = self.model.open_version(name, supersedes) if supersedes and supersedes != id_ else None
            for old in (previous, superseded):
                if old:
                    old.closed_at, old.closed_by = self.now, row
            self.model.namespaces[name].append(row)
            made.append(row)
        request = WriteRequest(self.records.ensure_namespace(name), given, lane)
        accepted = self.tenant.committer.submit(request).result(timeout=30)
        mine = select(memories.c.id).join(jobs, jobs.c.id == memories.c.job_id)
        with self.records.database.read() as connection:
            stored = connection.execute(mine.where(jobs.c.public_id == accepted.job_id).order_by(memories.c.id))
            numbers = list(stored.scalars())
        for row, id_, number in zip(made, accepted.ids, numbers, strict=True):
            assert row.id in {"", id_}
            row.id, row.row = id_, number

    @rule(name=NAMES, id_=IDS)
    def delete(self, name, id_) -> None:
        doomed = [row for row in self.model.namespaces.get(name, []) if row.id == id_ and row.state != "deleted"]
        if doomed:
            delete_memory(self.records, self.records.namespace(name), id_)
            for row in doomed:
                row.state = "deleted"
        elif name in self.model.namespaces:
            with pytest.raises(NotFound):
                delete_memory(self.records, self.records.namespace(name), id_)

    @precondition(lambda self: self.model.written > 6)
    @rule(name=NAMES, really=st.integers(0, 3))
    def delete_namespace(self, name, really) -> None:
        if really:  # seldom, or little is ever deep in a namespace
            return
        if name in self.model.namespaces:
            self.records.delete_namespace(name)
            del self.model.namespaces[name]
        with pytest.raises(NotFound):
            self.records.namespace(name)

    @rule(seconds=st.sampled_from([1, 11, 30, 61]))
    def wait(self, seconds) -> None:
        self.now += seconds * 1_000_000

    # --- what workers do --------------------------------------------------------------------------------

    @rule(work=WORK)
    def work(self, work) -> None:
        match work.split():
            case ["embed", lane]:
                self.embed(Lane(lane))
            case ["crash", step]:
                self.crash(step)
            case ["check"]:
                self.everything_is_found_and_nothing_else()
            case ["purge"]:
                self.compact(purge=True)
            case _:
                getattr(self, work)()

    @rule(lane=LANES)
    def flush(self, lane) -> None:
        self.embed(lane)
        self.index()

    def embed(self, lane) -> None:
        self.runtime.embed(self.company, lane)
        for row in self.rows():
            if row.state == "pending" and row.lane == lane:
                row.state = "embedded"

    def index(self) -> None:
        self.runtime.index(self.company)
        for row in self.rows():
            if row.state == "embedded":
                row.state = self.stored_state(row)
                assert row.state == "indexed" or (row.state == "embedded" and row.lane == Lane.BULK)

    def settle(self) -> None:
        for lane in Lane:
            self.embed(lane)
        self.index()
        assert all(row.state in {"indexed", "deleted"} for row in self.rows())

    def expire(self) -> None:
        expire_memories(self.records)
        for row in self.rows():
            if row.expires_at is not None and row.expires_at <= self.now:
                row.state = "deleted"

    def compact(self, *, purge=False) -> None:
        self.now += 3_600_000_000 if purge else 0
        self.tenant.index.compact()

    def collect(self) -> None:
        self.now += int(READER_GRACE_S * 1e6)
        collect_garbage(self.records, self.tenant.index)

    def crash(self, work) -> None:
        """End the process between a shard's put and its commit, if it builds one; then start another."""
        put = LocalBlobs.put

        def put_and_die(blobs, name, chunks):
            put(blobs, name, chunks)
            raise Crash

        with pytest.MonkeyPatch.context() as dying:
            dying.setattr(LocalBlobs, "put", put_and_die)
            try:
                if work == "index":
                    self.index()
                else:
                    self.tenant.index.compact()
            except Crash:
                pass
        self.reopen()

    def reopen(self) -> None:
        self.runtime.close()
        self.open()

    # --- what must hold ---------------------------------------------------------------------------------

    @invariant()
    def ledger_adds_up(self) -> None:
        for name, rows in self.model.namespaces.items():
            with self.records.database.read() as connection:
                found = count_states(connection, self.records.namespace(name).id)
            expected = Counter(row.state for row in rows)
            assert found == {state: expected.get(state, 0) for state in found}

    @invariant()
    def what_was_written_last_is_found(self) -> None:
        for name, rows in self.model.namespaces.items():
            for row in rows[-4:]:
                answer = self.model.answer(row, self.now, None)
                assert self.search(name, row.marker, "text", None) == ([answer.row] if answer else [])

    def teardown(self) -> None:
        try:
            self.everything_is_found_and_nothing_else()
            self.expire()
            self.settle()
            self.compact(purge=True)
            self.everything_is_found_and_nothing_else()
            for name, rows in self.model.namespaces.items():
                assert set(self.held(name)) == {row.row for row in rows if row.state == "indexed"}
        finally:
            self.runtime.close()
            self.kept.close()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("times", [1, pytest.param(5, marks=pytest.mark.long_run)])
def test_the_store_answers_what_the_model_answers(lend_store, record_store, times):
    class Prepared(StoreMachine):
        pass

    Prepared.lend_store = staticmethod(lend_store)
    bounds = settings(max_examples=EXAMPLES[record_store] * times, stateful_step_count=40, deadline=None)
    run_state_machine_as_test(Prepared, settings=bounds)

"""Whatever is deleted, by id, session, tag or filter, cut off or not, is in no answer afterwards; the rest stays.

The embedder is the tiny one of ``store_model``; the store, the shards and the crashes are real.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
from hypothesis import Phase, given, seed, settings
from hypothesis import strategies as st
from store_model import Crash, TinyEmbedder

from core import runtime as composition
from core.errors import NotFound
from core.memory import NewMemory
from core.pipeline import forgetting
from core.pipeline.forgetting import Conditions, delete_matching
from core.records.deletion import delete_memory
from core.records.reading import get_history, list_memories
from core.records.receipts import list_receipts
from core.records.shardlist import live_shards
from core.records.tables import Lane
from core.records.writes import WriteRequest
from core.runtime import Runtime
from core.search.request import Scope, SearchRequest
from core.shards.blobs import LocalBlobs
from core.shards.opening import open_shard
from tests.conftest import SEED
from tests.property.conftest import LendStore
from tests.stores import BOTH

RECORD_STORES = BOTH
EXAMPLES = {"sqlite": 15, "postgres": 4}

PHASES = [Phase.explicit, Phase.reuse, Phase.generate]  # shrinking would take minutes, and trials are short
IDS = [f"m{number}" for number in range(6)]
MATCHERS = {  # what a deletion asks, and what that means
    "session": (Conditions(session="s0"), lambda version: version.session == "s0"),
    "tag": (Conditions(tags=("t0",)), lambda version: version.tag == "t0"),
    "both": (
        Conditions(session="s1", tags=("t1",)),
        lambda version: (version.session, version.tag) == ("s1", "t1"),
    ),
    "filter": (Conditions(filter={"number": {"gte": 3}}), lambda version: version.number >= 3),
    "not": (
        Conditions(filter={"not": {"number": 1}}, tags=("t0",)),
        lambda version: version.number != 1 and version.tag == "t0",
    ),
}
WRITES = st.tuples(
    st.just("write"), st.sampled_from(IDS), st.sampled_from(["s0", "s1", None]), st.integers(0, 1), st.integers(0, 5)
)
STEPS = st.lists(
    st.one_of(
        WRITES,
        WRITES,
        st.tuples(st.just("delete"), st.sampled_from(IDS)),
        st.tuples(st.just("match"), st.sampled_from(sorted(MATCHERS))),
        st.tuples(st.just("cut off"), st.sampled_from(sorted(MATCHERS)), st.lists(WRITES, max_size=3)),
        st.tuples(st.sampled_from(["settle", "settle", "resume", "maintain"])),
    ),
    min_size=3,
    max_size=12,
)


@dataclass(frozen=True)
class Version:
    """One version of a memory, recognised by its marker."""

    marker: str
    session: str | None
    tag: str
    number: int


@dataclass
class Trial:
    """A store beside what is known of it: versions by id, the last one current; markers deleted, or about to be."""

    runtime: Runtime
    now: int = 1_700_000_000_000_000
    versions: dict[str, list[Version]] = field(default_factory=dict)
    doomed: set[str] = field(default_factory=set)
    deleted: set[str] = field(default_factory=set)
    written: int = 0

    def __post_init__(self) -> None:
        self.runtime.control.clock = lambda: self.now
        self.company = self.runtime.control.companies()[0].id
        self.tenant = self.runtime.tenant(self.company)
        self.records = self.tenant.records
        self.namespace = self.records.ensure_namespace("notes")
        for number, id_ in enumerate(IDS):
            self.run(("write", id_, f"s{number % 2}", number // 2 % 2, number))

    def run(self, step: tuple) -> None:
        match step:
            case ("write", id_, session, tag, number):
                self.write(id_, Version(f"zq{self.written}x", session, f"t{tag}", number))
            case ("delete", id_):
                self.delete(id_)
            case ("match", matcher):
                self.forget(self.matching(matcher))
                delete_matching(self.records, self.namespace, MATCHERS[matcher][0])
            case ("cut off", matcher, meanwhile):
                self.cut_off(matcher)
                for each in meanwhile:
                    self.run(each)
            case ("settle",):
                for lane in Lane:
                    self.runtime.embed(self.company, lane)
                self.runtime.index(self.company)
            case ("resume",):
                self.pass_time(31)
            case ("maintain",):
                self.pass_time(1_900)
        self.check()

    def write(self, id_: str, version: Version) -> None:
        self.written += 1
        item = NewMemory(
            id=id_,
            content=f"Remember {version.marker} well.",
            session=version.session,
            tags=[version.tag],
            metadata={"number": version.number},
        )
        self.tenant.committer.submit(WriteRequest(self.namespace, [item], Lane.INTERACTIVE)).result(timeout=30)
        self.versions.setdefault(id_, []).append(version)

    def delete(self, id_: str) -> None:
        if id_ in self.versions:
            delete_memory(self.records, self.namespace, id_)
            self.forget({version.marker for version in self.versions[id_]})
        else:
            with pytest.raises(NotFound):
                delete_memory(self.records, self.namespace, id_)

    def matching(self, matcher: str) -> set[str]:
        meets = MATCHERS[matcher][1]
        found = [versions for versions in self.versions.values() if meets(versions[-1])]
        return {version.marker for versions in found for version in versions}

    def forget(self, markers: set[str]) -> None:
        self.deleted |= markers
        self.doomed -= markers
        left = {
            id_: [version for version in versions if version.marker not in markers]
            for id_, versions in self.versions.items()
        }
        self.versions = {id_: versions for id_, versions in left.items() if versions}

    def cut_off(self, matcher: str) -> None:
        """The process dies before it erases anything; what matches will be gone once somebody has gone on."""

        def die(*_: object) -> None:
            raise Crash

        self.doomed |= self.matching(matcher)
        with pytest.MonkeyPatch.context() as dying:
            dying.setattr(forgetting, "erase", die)
            try:
                delete_matching(self.records, self.namespace, MATCHERS[matcher][0])
            except Crash:
                return

    def pass_time(self, seconds: int) -> None:
        self.now += seconds * 1_000_000
        self.runtime.maintain(self.company)
        self.forget(set(self.doomed))

    # --- what must hold ---------------------------------------------------------------------------------

    def check(self) -> None:
        listed = list_memories(self.records, self.namespace, after=0, limit=500).memories
        shown = {marker_of(view.content) for view in listed}
        current = {versions[-1].marker for versions in self.versions.values()}
        assert current - self.doomed <= shown <= current
        for id_ in IDS:
            assert self.history(id_) == [version.marker for version in self.versions.get(id_, [])]
        for moment in (None, self.now - 30_000_000):
            found = self.found("anything", "vector", moment)
            assert found.isdisjoint(self.deleted)
            for marker in sorted(self.deleted)[-3:]:
                assert self.found(marker, "text", moment) == set()

    def history(self, id_: str) -> list[str]:
        try:
            return [marker_of(view.content) for view in get_history(self.records, self.namespace, id_)]
        except NotFound:
            return []

    def found(self, query: str, mode: str, as_of: int | None) -> set[str]:
        request = SearchRequest(query, 100, mode, Scope(as_of=as_of))
        return {marker_of(hit.memory.content) for hit in self.tenant.query.search(self.namespace, request).hits}

    def end(self) -> None:
        """In the end everything present is found, and no file holds what was deleted."""
        for step in (("settle",), ("maintain",), ("maintain",), ("maintain",)):
            self.run(step)
        current = {versions[-1].marker for versions in self.versions.values()}
        assert self.found("anything", "vector", None) == current
        with self.records.database.read() as connection:
            states = {each.state for each in list_receipts(connection, namespace_ids=None, after=None, limit=500)}
            shards = live_shards(connection, self.namespace.id)
        assert states <= {"purged"}
        blobs = LocalBlobs(self.records.folder / "shards")
        opened = [
            open_shard(self.runtime.cache, blobs, self.namespace.key, shard.public_id, shard.fingerprint)
            for shard in shards
        ]
        rows = sum(len(versions) for versions in self.versions.values())
        assert sum(len(shard.ids) for shard in opened) == rows


def marker_of(content: str) -> str:
    return content.split()[1]


@contextmanager
def trial(lend_store: LendStore) -> Iterator[Trial]:
    with lend_store() as lent:
        runtime = Runtime(lent, lambda *_: None)
        try:
            yield Trial(runtime)
        finally:
            runtime.close()


@pytest.mark.timeout(120)
def test_what_was_deleted_is_in_no_answer(lend_store, record_store, monkeypatch):
    monkeypatch.setattr(composition, "open_embedder", lambda *_: TinyEmbedder())

    @seed(SEED)
    @settings(max_examples=EXAMPLES[record_store], deadline=None, phases=PHASES)
    @given(steps=STEPS)
    def hold(steps) -> None:
        with trial(lend_store) as running:
            for step in steps:
                running.run(step)
            running.end()

    hold()

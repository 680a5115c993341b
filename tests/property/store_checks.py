"""Holding the whole store against the model: every row read, searched for, and counted in the shards."""

from collections import Counter

import pytest

from core.errors import NotFound
from core.records.ledger import audit_ledger, read_ledger
from core.records.reading import get_history, get_memory, list_memories
from core.records.shardlist import live_shards
from core.search.request import Scope, SearchRequest
from core.shards.blobs import LocalBlobs
from core.shards.opening import open_shard


class StoreChecks:
    """Needs ``model``, ``now``, ``records``, ``tenant`` and ``runtime``."""

    def everything_is_found_and_nothing_else(self) -> None:
        self.check_ledger()
        for name, rows in self.model.namespaces.items():
            self.check_reading(name, rows)
            self.check_searches(name, rows)
            self.check_shards(name, rows)

    def check_ledger(self) -> None:
        with self.records.database.read() as connection:
            ledger = read_ledger(connection)
            assert ledger == audit_ledger(connection)
        assert {namespace: balance.imbalance for namespace, balance in ledger.items()} == dict.fromkeys(ledger, 0)

    def check_reading(self, name, rows) -> None:
        namespace = self.records.namespace(name)
        listed = list_memories(self.records, namespace, after=0, limit=500).memories
        assert [view.row for view in listed] == [row.row for row in rows if row.present(self.now)]
        for id_ in {row.id for row in rows}:
            versions = [row for row in rows if row.id == id_ and row.alive(self.now)]
            current = [row for row in versions if row.closed_at is None]
            if versions:
                history = get_history(self.records, namespace, id_)
                assert [(view.row, view.version) for view in history] == [(row.row, row.version) for row in versions]
            if current:
                assert current[0].marker in get_memory(self.records, namespace, id_).content
            else:
                with pytest.raises(NotFound):
                    get_memory(self.records, namespace, id_)

    def check_searches(self, name, rows) -> None:
        for as_of in (None, self.now - 30_000_000):
            answers = {row.row: self.model.answer(row, self.now, as_of) for row in rows}
            for row in rows:
                answer = answers[row.row]
                assert self.search(name, row.marker, "text", as_of) == ([answer.row] if answer else [])
            found = self.search(name, "anything", "vector", as_of)
            assert len(found) == len(set(found))
            assert set(found) == {answer.row for answer in answers.values() if answer}

    def search(self, name, query, mode, as_of) -> list[int]:
        request = SearchRequest(query, 100, mode, Scope(as_of=as_of))
        return [hit.memory.row for hit in self.tenant.query.search(self.records.namespace(name), request).hits]

    def check_shards(self, name, rows) -> None:
        held, states = self.held(name), {row.row: row.state for row in rows}
        assert set(held.values()) <= {1}
        assert {row.row for row in rows if row.state == "indexed"} <= set(held)
        assert {states[id_] for id_ in held} <= {"indexed", "deleted"}

    def held(self, name) -> Counter[int]:
        namespace, blobs = self.records.namespace(name), LocalBlobs(self.records.folder / "shards")
        with self.records.database.read() as connection:
            shards = live_shards(connection, namespace.id)
        return Counter(
            int(id_)
            for shard in shards
            for id_ in open_shard(self.runtime.cache, blobs, namespace.key, shard.public_id, shard.fingerprint).ids
        )

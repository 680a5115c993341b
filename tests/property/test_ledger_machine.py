"""The ledger under random work: after every step each accepted row is counted once, whichever way it is counted."""

import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from core.errors import Conflict, NotFound, StaleGeneration
from core.records.claims import fail_claimed, release_claim
from core.records.control import open_control
from core.records.deletion import delete_memory, expire
from core.records.leases import Held
from core.records.ledger import audit_ledger, read_ledger, total
from core.records.reading import get_memory
from core.records.retries import retry_failed
from core.records.tables import Lane, jobs
from core.records.writes import Idempotency
from core.settings import load_settings
from tests.integration.records.conftest import Desk, ManualClock
from tests.postgres_server import PostgresServer

NAMES = st.sampled_from(["alpha", "beta"])
IDS = st.sampled_from(["m0", "m1", "m2"])
LANES = st.sampled_from(list(Lane))
ITEMS = st.lists(
    st.tuples(
        st.sampled_from([None, "m0", "m1", "m2"]),
        st.sampled_from([None, None, "m0", "m1"]),
        st.sampled_from([None, None, 20, 90]),
    ),
    max_size=5,
)


class LedgerMachine(RuleBasedStateMachine):
    """Rules are what callers and workers do to the record store; the model is one number for each namespace."""

    template: Path
    root: Path
    new_database: Callable[[], str]  # the address of a copy of the template's, or nothing
    examples = 0

    @initialize()
    def start(self) -> None:
        type(self).examples += 1
        self.data = self.root / f"data-{self.examples}"
        shutil.copytree(self.template, self.data)
        clock = ManualClock()
        self.url = type(self).new_database()
        storage = {"path": str(self.data), "database_url": self.url}
        self.control = open_control(load_settings(None, {"storage": storage}), clock=clock)
        self.desk = Desk(self.control.records(self.control.companies()[0].id), clock)
        self.accepted: dict[int, int] = {}
        self.claims: list[tuple[str, list[int]]] = []

    def wrote(self, name, count) -> None:
        namespace = self.desk.namespace(name).id
        self.accepted[namespace] = self.accepted.get(namespace, 0) + count

    @rule(
        name=NAMES,
        items=ITEMS,
        lane=LANES,
        key=st.sampled_from([None, None, "a", "b"]),
        then=st.sampled_from(["", "embed", "flush", "flush"]),
    )
    def write(self, name, items, lane, key, then) -> None:
        given = [
            {"id": id_, "content": "a note", "supersedes": other if other != id_ else None, "ttl_seconds": ttl}
            for id_, other, ttl in items
        ]
        once = Idempotency(self.desk.namespace(name).key.handle("idempotency", key), bytes(32)) if key else None
        done = self.desk.write(*given, namespace=name, lane=lane, idempotency=once)
        self.wrote(name, 0 if done.repeated else len(items))
        if then:
            self.desk.embed(lane)
        if then == "flush":
            self.desk.flush(self.desk.namespace(name))

    @rule(name=NAMES, id_=IDS, stale=st.booleans())
    def patch(self, name, id_, stale) -> None:
        try:
            seen = get_memory(self.desk.records, self.desk.namespace(name), id_).row
        except NotFound:
            seen = 1
        with suppress(Conflict):
            good = self.desk.request("beside it", namespace=name)
            patched = self.desk.request({"id": id_, "content": "b"}, namespace=name, replaces_row=seen - stale)
            self.desk.commit(good, patched)
            self.wrote(name, 2)

    @rule(name=NAMES, id_=IDS)
    def delete(self, name, id_) -> None:
        with suppress(NotFound):
            delete_memory(self.desk.records, self.desk.namespace(name), id_)

    @rule(name=NAMES, really=st.integers(0, 4))
    def delete_namespace(self, name, really) -> None:
        if not really and self.desk.records.known(name):
            self.desk.records.delete_namespace(name)

    @rule(seconds=st.sampled_from([1, 30, 91, -45]), most=st.integers(0, 3))
    def wait(self, seconds, most) -> None:
        self.desk.clock.advance(seconds)
        expire(self.desk.records, most)

    @rule(lane=LANES, limit=st.integers(1, 6))
    def claim(self, lane, limit) -> None:
        self.claims.append(self.desk.claim(limit, lane))

    @rule(how=st.sampled_from(["store", "store", "fail", "release", "forget"]), part=st.integers(1, 6))
    def finish_a_claim(self, how, part) -> None:
        if not self.claims:
            return
        token, rows = self.claims.pop(0)
        if how == "store":
            with suppress(NotFound):  # its namespace was deleted
                self.desk.store(token, rows)
        with self.desk.records.database.write() as connection:
            if how == "fail":
                fail_claimed(connection, token, rows[:part], "integrity", self.desk.clock())
            elif how == "release":
                release_claim(connection, token, rows)

    @rule(name=NAMES, late=st.booleans())
    def flush(self, name, late) -> None:
        with suppress(StaleGeneration):
            self.desk.flush(self.desk.namespace(name), held=[Held("flush-1", "lost", 0)] if late else [])

    @rule()
    def retry(self) -> None:
        with self.desk.records.database.read() as connection:
            rows = [row.id for row in connection.execute(jobs.select())]
        for row in rows:
            retry_failed(self.desk.records, row)

    @invariant()
    def every_row_is_counted_once(self) -> None:
        with self.desk.records.database.read() as connection:
            ledger = read_ledger(connection)
            assert ledger == audit_ledger(connection)
        assert {namespace: balance.imbalance for namespace, balance in ledger.items()} == dict.fromkeys(ledger, 0)
        accepted = {namespace: balance.accepted for namespace, balance in ledger.items() if balance.accepted}
        assert accepted == {namespace: count for namespace, count in self.accepted.items() if count}
        assert total(ledger.values()).imbalance == 0

    def teardown(self) -> None:
        self.control.close()
        shutil.rmtree(self.data)


@pytest.mark.timeout(120)
def test_the_ledger_balances_after_every_step(tmp_path):
    check(tmp_path, "", lambda: "", examples=30)


@pytest.mark.timeout(120)
def test_it_balances_on_postgresql(tmp_path, postgres: PostgresServer):
    url = postgres.new_database()
    check(tmp_path, url, lambda: postgres.new_database(of=url), examples=4)


def check(root: Path, url: str, copy: Callable[[], str], examples: int) -> None:
    """Run the machine from copies of a store at ``url``, or in a folder."""
    made = open_control(load_settings(None, {"storage": {"path": str(root / "template"), "database_url": url}}))
    made.records(made.companies()[0].id)
    made.close()

    class Prepared(LedgerMachine):
        template = root / "template"
        new_database = staticmethod(copy)

    Prepared.root = root
    run_state_machine_as_test(Prepared, settings=settings(max_examples=examples, stateful_step_count=40, deadline=None))

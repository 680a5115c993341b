"""Workers and writers while the server is frozen: refused or idle, and nothing is counted against anybody."""

import threading

import pytest
import structlog

from core.errors import Frozen
from core.memory import NewMemory
from core.pipeline.doorbell import QUEUES
from core.pipeline.freezing import freeze, freeze_state, unfreeze
from core.records.frozen import Freeze, Phase
from core.records.tables import Lane, State, memories
from core.records.writes import WriteRequest
from tests.integration.processes import eventually
from tests.stores import LONG_ON_POSTGRES

RECORD_STORES = LONG_ON_POSTGRES


@pytest.fixture
def server(open_server, clock):
    """The control store goes by the test's clock, as the companies' do."""
    opened = open_server()
    opened.runtime.control.database._clock = clock
    yield opened
    unfreeze(opened.runtime.control)


def rows(server) -> list[tuple[str, int]]:
    with server.records.database.read() as connection:
        found = connection.execute(memories.select().order_by(memories.c.id))
        return [(row.state, row.attempts) for row in found]


def test_workers_idle_quietly_and_count_no_attempt(server):
    server.write(*(f"note {number}" for number in range(5)))
    server.write("bulk", lane=Lane.BULK)
    freeze(server.runtime.control)
    with structlog.testing.capture_logs() as logs:
        for queue in QUEUES:
            for _ in range(3):
                server.runtime.catch_up(queue, server.company)
                server.runtime.work(queue, server.company)
    assert logs == []
    assert rows(server) == [(State.PENDING, 0)] * 6
    unfreeze(server.runtime.control)
    server.settle()
    assert {state for state, _ in rows(server)} == {State.INDEXED}


@pytest.mark.parametrize("phase", [Phase.DRAINING, Phase.FROZEN])
def test_a_freeze_that_begins_in_the_middle_of_a_drain_ends_it_in_order(server, monkeypatch, phase):
    """The batch on the cores is stored while it drains; once it is frozen, it is done again later."""
    server.write(*(f"note {number}" for number in range(600)))
    embed = server.runtime.embedder.embed_passages
    froze = threading.Event()

    def embed_and_freeze(texts, **more):
        if not froze.is_set():
            froze.set()
            server.records.database.set_freeze(Freeze(phase))
        return embed(texts, **more)

    monkeypatch.setattr(server.runtime.embedder, "embed_passages", embed_and_freeze)
    with structlog.testing.capture_logs() as logs:
        server.runtime.work("embed", server.company)
    assert froze.is_set()
    assert [entry for entry in logs if entry["log_level"] == "error"] == []
    stored = [state for state, _ in rows(server)].count(State.EMBEDDED)
    assert (0 < stored < 600) if phase is Phase.DRAINING else stored == 0
    assert max(attempts for _, attempts in rows(server)) <= 1
    server.records.database.set_freeze(Freeze())
    server.clock.advance(61)  # a claim that could not be given back runs out
    server.settle()
    assert {state for state, _ in rows(server)} == {State.INDEXED}


def test_every_writer_that_waits_is_told(server):
    request = WriteRequest(server.namespace(), [NewMemory(content="late")], Lane.INTERACTIVE)
    with server.records.database.write():  # they gather behind this commit
        waiting = [server.tenant.committer.submit(request)]
        eventually(server.tenant.committer._waiting.empty)  # it was taken, and the others wait for it
        waiting += [server.tenant.committer.submit(request) for _ in range(20)]
        freezing = threading.Thread(target=lambda: server.records.database.set_freeze(Freeze(Phase.FROZEN)))
        freezing.start()
    freezing.join()
    told = [future.exception(60) for future in waiting]
    written = len(rows(server))
    assert [type(error) for error in told if error] == [Frozen] * (len(waiting) - written)
    assert server.tenant.committer.submit(request).exception(60).reason == "frozen"
    assert len(rows(server)) == written


def test_the_index_is_not_changed_while_it_is_frozen(server):
    server.write("one", "two")
    server.embed()
    freeze(server.runtime.control)
    before = [shard.public_id for shard in server.shards()]
    server.runtime.work("index", server.company)
    server.runtime.work("maintain", server.company)
    assert [shard.public_id for shard in server.shards()] == before == []
    assert freeze_state(server.runtime.control).state == "frozen"
    assert list(server.search("one")) == []

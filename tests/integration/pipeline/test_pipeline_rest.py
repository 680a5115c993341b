"""A server at rest looks for work every few seconds: no look reads all the memories there are."""

import re
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, event

from core.pipeline.doorbell import QUEUES
from core.pipeline.unclaimed import forgotten_work
from core.records.tables import Lane, memories
from core.records.waiting import waiting_namespaces

PARTIAL = [index.name for index in memories.indexes if index.dialect_options["sqlite"]["where"] is not None]
KEPT = "ix_memories_kept"  # of every memory that is there
SCAN = re.compile(r"SCAN memories(?: USING (?:COVERING )?INDEX (\w+))?")


@pytest.fixture
def asked() -> Iterator[list[tuple[str, tuple[object, ...]]]]:
    """Every statement that is sent meanwhile."""
    found: list[tuple[str, tuple[object, ...]]] = []

    def keep(_connection, _cursor, statement, parameters, *_) -> None:
        found.append((statement, parameters))

    event.listen(Engine, "before_cursor_execute", keep)
    yield found
    event.remove(Engine, "before_cursor_execute", keep)


def test_rows_that_wait_for_a_shard_are_counted_in_their_index(server, asked):
    server.write(*(f"Note {number}." for number in range(5)), lane=Lane.BULK)
    server.embed()
    asked.clear()

    with server.records.database.read() as connection:
        [waiting] = waiting_namespaces(connection, server.clock())
        counts = [(text, values) for text, values in asked if "count(" in text]
        plans = [
            " ".join(row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", values))
            for text, values in counts
        ]

    assert waiting.bulk == 5
    assert len(plans) == 2
    assert all("ix_memories_embedded" in plan for plan in plans), plans
    assert all("state = 'embedded'" in text for text, _ in counts)  # with a parameter, it reads every row as well


def test_a_server_at_rest_reads_no_memories(server, asked):
    server.write(*({"id": f"n{number}", "content": f"Note {number}."} for number in range(5)))
    server.settle()
    server.delete("n1")
    server.maintain()
    asked.clear()

    for queue in QUEUES:
        forgotten_work(server.records, queue)
    server.embed()
    server.index()
    server.maintain()

    scanned = set()
    looks = [(text, values) for text, values in asked if text.startswith("SELECT") and "memories" in text]
    with server.records.database.read() as connection:
        for text, values in looks:
            plan = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", values)]
            scanned |= {(found[1], text) for line in plan if (found := SCAN.match(line))}
    assert len(looks) > len(QUEUES)
    assert [text for index, text in scanned if index not in PARTIAL or index == KEPT] == []

"""The backlog: what is on its way, and which row stands at the head of a queue that nobody works on."""

from core.records.backlog import Load, due_heads, lane_loads, oldest_pending_at
from core.records.claims import release_claim
from core.records.deletion import delete_memory
from core.records.tables import Lane, State


def heads(desk):
    with desk.records.database.read() as connection:
        return [(head.state, head.lane, head.row) for head in due_heads(connection, desk.clock())]


def loads(desk, *states):
    with desk.records.database.read() as connection:
        return lane_loads(connection, *states)


def test_loads_count_rows_and_bytes_of_each_lane_and_state(desk):
    desk.write("one", "two", {"content": "three", "id": "x"})
    desk.write("four", lane=Lane.BULK)
    before = loads(desk, State.PENDING)
    assert (before[Lane.INTERACTIVE].rows, before[Lane.BULK].rows) == (3, 1)
    assert before[Lane.INTERACTIVE].bytes == sum(
        row.bytes for row in desk.rows(desk.namespace()) if row.lane == "interactive"
    )
    desk.embed()
    assert loads(desk, State.PENDING)[Lane.INTERACTIVE] == Load()
    assert loads(desk, State.PENDING, State.EMBEDDED) == before
    desk.flush(desk.namespace())
    delete_memory(desk.records, desk.namespace(), "x")
    assert loads(desk, State.PENDING, State.EMBEDDED)[Lane.INTERACTIVE] == Load()


def test_the_oldest_pending_row_is_the_one_that_waited_longest(desk):
    def oldest():
        with desk.records.database.read() as connection:
            return oldest_pending_at(connection, Lane.INTERACTIVE)

    assert oldest() is None
    desk.write("one")
    first = desk.clock()
    desk.clock.advance(5)
    desk.write("two")
    desk.claim()
    assert oldest() == first
    desk.clock.advance(61)
    desk.embed()
    assert oldest() is None


def test_a_lane_has_a_head_while_nobody_holds_a_claim(desk):
    assert heads(desk) == []
    desk.write("one", "two")
    first = desk.rows(desk.namespace())[0].id
    assert heads(desk) == [(State.PENDING, Lane.INTERACTIVE, first)]
    desk.claim(limit=1)
    assert heads(desk) == [], "somebody is at it"
    desk.clock.advance(61)
    assert heads(desk) == [(State.PENDING, Lane.INTERACTIVE, first)], "the claim ran out"
    desk.write("three", lane=Lane.BULK)
    assert [lane for _, lane, _ in heads(desk)] == [Lane.INTERACTIVE, Lane.BULK]


def test_rows_that_are_to_be_tried_later_are_passed_over(desk):
    desk.write("one", "two")
    token, rows = desk.claim()
    with desk.records.database.write() as connection:
        release_claim(connection, token, rows[:1], retry_at=desk.clock() + 30_000_000)
        release_claim(connection, token, rows[1:])
    assert heads(desk) == [(State.PENDING, Lane.INTERACTIVE, rows[1])]
    desk.clock.advance(31)
    assert heads(desk) == [(State.PENDING, Lane.INTERACTIVE, rows[0])]


def test_each_namespace_with_embedded_rows_has_a_head_until_it_is_flushed(desk):
    desk.write("one", "two")
    desk.write("three", namespace="other")
    embedded = desk.embed()
    assert heads(desk) == [
        (State.EMBEDDED, Lane.INTERACTIVE, embedded[0]),
        (State.EMBEDDED, Lane.INTERACTIVE, embedded[2]),
    ]
    desk.flush(desk.namespace())
    assert heads(desk) == [(State.EMBEDDED, Lane.INTERACTIVE, embedded[2])]

from core.audit.auditor import next_period_s
from core.audit.events import ELSEWHERE, LOST, OK, SERVER, UNKNOWN, Event, parse_event, result_of
from core.audit.tallies import Tallies
from core.errors import Forbidden, Frozen, IntegrityError

ADD = Event("key_a", "memory.add", OK, "co_a", "ns_a", address="10.0.0.1")


def test_what_is_alike_becomes_one_event():
    tallies = Tallies(since=5, kinds_max=10, addresses_max=8)
    for _ in range(1_000):
        tallies.add(ADD)
    tallies.add(ADD._replace(result="refused:queue_full"))
    assert tallies.events() == [
        ADD._replace(times=1_000, since=5),
        ADD._replace(result="refused:queue_full", since=5),
    ]


def test_a_hundred_thousand_strangers_are_a_few_events_that_count_them_all():
    tallies = Tallies(since=5, kinds_max=16, addresses_max=16)
    for number in range(100_000):
        tallies.add(Event(UNKNOWN, "memory.search", "refused:unauthenticated", address=f"2001:db8:0:{number:x}::/64"))
    events = tallies.events()
    assert len(events) == 17
    assert sum(event.times for event in events) == 100_000
    assert events[-1] == Event(SERVER, LOST, times=99_984, since=5)
    assert len(tallies.counts) == 16


def test_a_key_that_comes_from_everywhere_leaves_room_for_others():
    tallies = Tallies(since=5, kinds_max=30, addresses_max=3)
    for number in range(1_000):
        tallies.add(ADD._replace(address=f"10.0.{number // 250}.{number % 250}"))
    tallies.add(ADD._replace(actor="key_b", address="10.0.9.9"))
    assert [(event.actor, event.address, event.times) for event in tallies.events()] == [
        ("key_a", "10.0.0.0", 1),
        ("key_a", "10.0.0.1", 1),
        ("key_a", "10.0.0.2", 1),
        ("key_a", ELSEWHERE, 997),
        ("key_b", "10.0.9.9", 1),
    ]


def test_many_kinds_make_periods_longer_and_the_log_no_faster():
    kinds = [0, 7, 50, 100, 1_000, 1_000, 1, 1_000]
    periods_s = [next_period_s(count) for count in kinds]
    assert periods_s == [30, 30, 30, 60, 600, 600, 30, 600]
    assert sum(kinds) / sum(periods_s) <= 50 / 30


def test_a_period_that_was_not_written_takes_in_the_next_and_stays_bounded():
    first, second = Tallies(since=5, kinds_max=2, addresses_max=2), Tallies(since=9, kinds_max=2, addresses_max=2)
    first.add(ADD)
    for action in ("memory.add", "memory.read", "memory.list", "memory.delete"):
        second.add(ADD._replace(action=action))
    first.absorb(second)
    assert first.since == 5
    assert [(event.action, event.times) for event in first.events()] == [
        ("memory.add", 2),
        ("memory.read", 1),
        (LOST, 2),
    ]


def test_an_event_is_read_back_from_its_bytes():
    for event in (ADD, ADD._replace(times=7, since=3, target="key_b"), Event("cli:0", "server.freeze")):
        assert parse_event(event.to_bytes()) == event


def test_results_tell_refusals_from_failures():
    assert result_of(None) == "ok"
    assert result_of(Forbidden("no", code="scope_missing")) == "refused:scope_missing"
    assert result_of(Frozen("later", retry_after_s=1)) == "failed:frozen"
    assert result_of(IntegrityError("changed")) == "failed:integrity"
    assert result_of(ValueError("secret")) == "failed:internal"

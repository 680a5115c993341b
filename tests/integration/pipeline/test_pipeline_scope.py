"""Conditions hold inside both arms: a selective one still fills the answer, and nothing else slips in."""

from datetime import UTC, datetime, timedelta

import pytest

from core import limits
from core.clock import to_us
from core.records.tables import Lane
from core.search.filters import parse_filter
from tests.stores import LONG_ON_POSTGRES

RECORD_STORES = LONG_ON_POSTGRES

MODES = ("hybrid", "vector", "text")
DAY = datetime(2026, 3, 1, 12, tzinfo=UTC)
KINDS = ("sensor", "operator", "import")
ROWS = 240


def reading(number: int) -> dict[str, object]:
    return {
        "id": f"r{number}",
        "content": f"Pump reading {number}: pressure normal, valve closed.",
        "metadata": {"number": number, "plant": {"line": number % 4}, "kind": KINDS[number % 3]},
        "session": f"shift-{number % 6}",
        "tags": ["odd"] if number % 2 else ["even", "checked"] if number % 10 == 0 else ["even"],
        "occurred_at": (DAY + timedelta(days=number)).isoformat(),
    }


@pytest.fixture
def plant(server, monkeypatch):
    """Readings spread over two sealed shards and a tail."""
    monkeypatch.setattr(limits, "TAIL_ROWS_MAX", 80)
    server.write(*map(reading, range(100)), lane=Lane.BULK)
    server.settle()
    server.write(*map(reading, range(100, 200)), lane=Lane.BULK)
    server.settle()
    server.write(*map(reading, range(200, ROWS)))
    server.settle()
    assert [shard.rows for shard in server.shards()] == [100, 100, 40]
    return server


def expected(condition) -> set[str]:
    return {f"r{number}" for number in range(ROWS) if condition(number)}


def test_a_selective_filter_fills_the_answer(plant):
    cases = [
        ({"number": {"gte": 97, "lt": 103}}, lambda n: 97 <= n < 103),
        ({"plant.line": 3, "kind": "import", "number": {"lt": 100}}, lambda n: n % 12 == 11 and n < 100),
        ({"or": [{"number": 5}, {"number": 105}, {"number": 205}]}, lambda n: n in {5, 105, 205}),
        (
            {"and": [{"not": {"kind": {"in": ["sensor", "operator"]}}}, {"number": {"gt": 200}}]},
            lambda n: n % 3 == 2 and n > 200,
        ),
        ({"missing": {"exists": True}}, lambda _: False),
    ]
    for given, condition in cases:
        for mode in MODES:
            found = plant.ids("pressure normal, valve closed", mode=mode, limit=50, filter=parse_filter(given))
            assert len(found) == len(set(found))
            assert set(found) == expected(condition), (given, mode)


def test_sessions_tags_and_times(plant):
    day = to_us(DAY)
    cases = [
        ({"session": "shift-5"}, lambda n: n % 6 == 5),
        ({"session": "shift-6"}, lambda _: False),
        ({"tags": ["checked"]}, lambda n: n % 10 == 0),
        ({"tags": ["even", "checked"]}, lambda n: n % 10 == 0),
        ({"tags": ["odd", "checked"]}, lambda _: False),
        ({"since": day + 235 * 86_400_000_000}, lambda n: n >= 235),
        ({"until": day + 5 * 86_400_000_000}, lambda n: n < 5),
        ({"since": day + 99 * 86_400_000_000, "until": day + 102 * 86_400_000_000}, lambda n: 99 <= n < 102),
        (
            {"session": "shift-0", "tags": ["checked"], "since": day + 100 * 86_400_000_000},
            lambda n: n % 30 == 0 and n >= 100,
        ),
    ]
    for scope, condition in cases:
        for mode in MODES:
            found = plant.ids("pump reading pressure", mode=mode, limit=100, **scope)
            assert set(found) == expected(condition), (scope, mode)


def test_session_neighbours_stay_inside_the_scope(plant):
    """A hit lends score to its neighbours; those out of scope must not come in that way."""
    given = parse_filter({"number": {"in": [12, 100, 180]}})

    assert set(plant.ids("Pump reading 12", filter=given)) == {"r12", "r100", "r180"}


def test_masked_rows_take_no_places(plant):
    for number in range(0, ROWS, 2):
        plant.delete(f"r{number}")

    for mode in MODES:
        assert set(plant.ids("pump reading", mode=mode, limit=100, tags=["even"])) == set()
        assert len(plant.ids("pump reading", mode=mode, limit=100)) == 100


def test_scopes_survive_compaction(plant, monkeypatch):
    monkeypatch.setattr(limits, "TIER_FACTOR", 2)
    plant.maintain()
    assert [shard.rows for shard in plant.shards()] == [40, 200]

    for mode in MODES:
        found = plant.ids("pump reading", mode=mode, limit=100, session="shift-5", tags=["odd"])
        assert set(found) == expected(lambda n: n % 6 == 5)


def test_a_graph_honours_filters(plant, monkeypatch):
    monkeypatch.setattr(limits, "TIER_FACTOR", 2)
    plant.small_graphs(rows_min=64).compact()
    assert any(shard.manifest.graph for shard in plant.opened())

    for given, condition in (
        ({"number": {"in": [3, 77, 199]}}, lambda n: n in {3, 77, 199}),
        ({"number": {"lt": 90}}, lambda n: n < 90),
    ):
        found = plant.ids("pump reading", mode="vector", limit=100, filter=parse_filter(given))
        assert set(found) == expected(condition)

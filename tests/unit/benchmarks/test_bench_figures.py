from pathlib import Path

import orjson
import pytest

from benchmarks.backfill import rates
from benchmarks.figures import Figure, Results, latencies, repeated
from benchmarks.footprint import disk_bytes
from benchmarks.report import print_table, write_json, written
from benchmarks.targets import TARGETS, Target


def test_a_target_judges_in_its_direction() -> None:
    assert Target(8, "ms").judge(8, None) is True
    assert Target(8, "ms").judge(8.1, None) is False
    assert Target(0.85, "", at_least=True).judge(0.85, 10) is True
    assert Target(0.85, "", at_least=True).judge(0.84, 10) is False


def test_a_target_of_another_size_is_not_judged() -> None:
    assert Target(8, "ms", memories=100_000).judge(1, 10_000) is None


def test_every_target_reads_well() -> None:
    assert str(TARGETS["search", "p50, 1 client"]) == "≤ 8 ms at 100,000"
    assert str(TARGETS["ingest", "service ÷ raw limit"]) == "≥ 0.85"


def test_a_figure_carries_its_target_into_the_json() -> None:
    body = Figure("search", "p50, 1 client", 7.5, "ms", 100_000).as_json()
    assert (body["target"], body["met"]) == ("≤ 8 ms at 100,000", True)
    assert "target" not in Figure("search", "something else", 7.5, "ms").as_json()


def test_repeats_and_latencies_keep_their_range() -> None:
    figure = repeated("ingest", "whole service", [700, 650, 720], "texts/s", 10)
    assert (figure.value, figure.low, figure.high, figure.samples) == (700, 650, 720, 3)
    names = [each.name for each in latencies("search", ", 1 client", [1.0, 2.0], 10)]
    assert names == ["p50, 1 client", "p95, 1 client", "p99, 1 client"]


def test_the_results_file_holds_every_figure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = Results(figures=[Figure("search", "p50, 1 client", 7.5, "ms", 100_000)], sections_s={"sizes": 1.5})
    write_json(tmp_path / "results.json", results, {"seed": 7})
    body = orjson.loads((tmp_path / "results.json").read_bytes())
    assert body["seed"] == 7
    assert body["figures"][0]["unit"] == "ms"
    print_table(results)
    shown = capsys.readouterr().out
    assert "7.5 ms" in shown
    assert "met" in shown


def test_rates_are_of_what_was_embedded_between_two_looks() -> None:
    samples = [{"at_s": 1.0, "embedded": 100}, {"at_s": 3.0, "embedded": 500}, {"at_s": 4.0, "embedded": 500}]
    assert rates(samples) == [200, 0]


def test_disk_bytes_are_told_apart_by_what_they_are_for(tmp_path: Path) -> None:
    for name, size in (("a/x.shard", 10), ("a/records.db", 5), ("a/records.db-wal", 2), ("start.lock", 1)):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"0" * size)
    assert disk_bytes(tmp_path) == {"shards": 10, "records": 7, "other": 1}


@pytest.mark.parametrize(
    ("value", "shown"), [(12_345.6, "12,346"), (45.67, "45.7"), (4.567, "4.57"), (0.8512, "0.851"), (0, "0.000")]
)
def test_numbers_are_written_for_people(value: float, shown: str) -> None:
    assert written(value) == shown

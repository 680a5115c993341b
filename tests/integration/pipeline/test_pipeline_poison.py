"""A row that no shard can be built with ends alone; a builder that is out of order fails nobody."""

import shutil
from types import SimpleNamespace

import pytest

from core.pipeline import building
from core.pipeline.building import ShardBuilder
from core.records.retries import retry_rows
from core.records.tables import Lane
from tests.stores import LONG_ON_POSTGRES

RECORD_STORES = LONG_ON_POSTGRES

POISON = "poison"
BACKOFF_S = 300  # no wait is longer


def note(number: int, poison: bool = False) -> dict[str, object]:
    return {"id": f"n{number}", "content": f"Note {number} about {POISON if poison else 'the harbour'}."}


def poisonous(rows) -> bool:
    return any(POISON in row.text for row in rows)


@pytest.fixture
def choke(monkeypatch):
    """Make the builder refuse some batches, and remember how many rows it was given each time."""
    real, given = building.build_shard, []

    def install(refused, error: BaseException) -> list[int]:
        def build_or_choke(folder, rows, *more):
            given.append(len(rows))
            if refused(rows):
                (folder / "half-made").write_bytes(b"")
                raise error
            return real(folder, rows, *more)

        monkeypatch.setattr(building, "build_shard", build_or_choke)
        return given

    yield install
    monkeypatch.setattr(building, "build_shard", real)


def outcome(server, accepted) -> tuple[str, int, list[tuple[str, int]]]:
    job = server.job(accepted)
    return job.state, job.indexed, [(error["code"], error["memories"]) for error in job.errors]


@pytest.mark.parametrize("bad", [[0], [6], [2, 3], [0, 3, 6], [0, 1, 2, 3, 4, 5, 6]])
def test_rows_that_cannot_be_indexed_fail_and_the_others_are_found(server, choke, bad):
    choke(poisonous, ValueError("what the library says"))
    accepted = server.write(*(note(number, number in bad) for number in range(7)))

    server.settle()

    left = sorted(f"n{number}" for number in range(7) if number not in bad)
    assert outcome(server, accepted) == ("failed", len(left), [("indexing_failed", len(bad))])
    for mode in ("hybrid", "vector", "text"):
        assert sorted(server.ids("note about the harbour", mode=mode, limit=20)) == left
    server.check()
    left_behind = {path.name.split("_")[0] for path in server.runtime.cache.own.iterdir()}
    assert left_behind <= {"view"}  # nothing half-made stays


def test_a_poisonous_row_in_a_backlog_does_not_hold_it_up(server, choke, small_tiers):
    given = choke(poisonous, RuntimeError())
    accepted = server.write(*(note(number, number == 77) for number in range(100)), lane=Lane.BULK)

    server.settle()

    assert outcome(server, accepted) == ("failed", 99, [("indexing_failed", 1)])
    assert len(given) < 25  # halving, not one by one
    server.check()


def test_a_row_that_poisons_only_a_rewrite_fails_then(server, choke):
    server.write(*(note(number, number == 1) for number in range(3)))
    server.settle()
    choke(poisonous, ValueError())
    server.write(note(9))

    server.settle()

    assert sorted(server.ids("note", mode="vector")) == ["n0", "n2", "n9"]
    assert server.states()["failed"] == 1
    server.check()


def test_a_failed_row_can_be_tried_again_once_the_builder_is_mended(server, choke):
    choke(poisonous, ValueError())
    accepted = server.write(note(1, poison=True), note(2))
    server.settle()
    assert server.job(accepted).state == "failed"

    choke(lambda _: False, ValueError())
    assert retry_rows(server.records, server.row_ids("n1")) == 1
    server.settle()

    assert outcome(server, accepted) == ("indexed", 2, [])
    assert server.ids("poison", mode="text") == ["n1"]


@pytest.mark.parametrize("error", [RuntimeError("broken"), OSError(5, "broken"), MemoryError()])
def test_a_builder_that_is_out_of_order_fails_nobody(server, choke, error):
    given = choke(lambda _: True, error)
    accepted = server.write(note(1), note(2))
    server.settle()
    tries = len(given)

    for _ in range(5):
        server.index()  # not before its time
    assert len(given) == tries <= 2

    choke(lambda _: False, error)
    server.clock.advance(BACKOFF_S)
    server.index()
    assert outcome(server, accepted) == ("indexed", 2, [])
    server.check()


def test_the_wait_between_tries_grows_and_is_bounded(server, choke):
    given = choke(lambda _: True, OSError(5, "broken"))
    server.write(note(1))
    server.embed()
    for _ in range(3_600):
        server.index()
        server.clock.advance(1)

    assert 3_600 / BACKOFF_S < len(given) < 200


def test_a_full_tmpfs_that_looks_like_a_poisonous_row_fails_nobody(server, choke, monkeypatch):
    choke(lambda rows: len(rows) > 1, ValueError("An IO error occurred: 'No space left on device (os error 28)'"))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=0))
    accepted = server.write(note(1), note(2))
    server.settle()
    assert server.job(accepted).failed == 0

    choke(lambda _: False, ValueError())
    server.clock.advance(BACKOFF_S)
    server.index()
    assert outcome(server, accepted) == ("indexed", 2, [])


def test_rows_that_only_fail_together_fail_nobody(server, choke):
    choke(lambda rows: len(rows) == 4, ValueError())
    accepted = server.write(*map(note, range(4)))
    server.settle()

    assert server.job(accepted).failed == 0


@pytest.mark.parametrize("stage", ["index", "maintain"])
def test_a_fault_in_one_namespace_does_not_stop_the_others(server, monkeypatch, small_tiers, stage):
    for name in ("first", "second", "third"):
        for start in (0, 8, 16):
            server.write(*map(note, range(start, start + 8)), namespace=name)
            if stage == "maintain":
                server.settle()
    server.embed()
    real, broken = ShardBuilder.build, server.namespace("second").id

    def build(builder, namespace, ids):
        if namespace.id == broken:
            raise ZeroDivisionError
        return real(builder, namespace, ids)

    monkeypatch.setattr(ShardBuilder, "build", build)
    getattr(server, stage)()

    expected = {"index": [True, False, True], "maintain": [1, 3, 1]}[stage]
    found = {
        "index": lambda name: server.states(name)["indexed"] == 24,
        "maintain": lambda name: len(server.shards(name)),
    }[stage]
    assert [found(name) for name in ("first", "second", "third")] == expected

"""A shard whose blob is missing, changed or unreadable: answers stay complete, and the shard is built anew."""

import shutil

import pytest
import structlog

from core.errors import StaleGeneration
from core.pipeline import repair
from core.records.tables import State, memories
from tests.integration.pipeline.shard_damage import (
    DAMAGES,
    MODES,
    everything,
    flip,
    layer,
    path_of,
    quarantined,
    sound,
    unreadable,
)
from tests.stores import LONG_ON_POSTGRES

RECORD_STORES = LONG_ON_POSTGRES


@pytest.fixture
def layered(server, small_tiers):
    return layer(server)


@pytest.mark.parametrize(
    ("damage", "victim"), [(damage, number % 3) for number, damage in enumerate(DAMAGES.values())], ids=DAMAGES
)
def test_answers_stay_complete_and_the_shard_is_built_anew(layered, restart, rng, damage, victim):
    before, damaged = everything(layered), layered.shards()[victim]
    damage(path_of(layered, damaged), rng)
    server = restart(layered)

    assert everything(server) == before
    assert quarantined(server) == [damaged.public_id]

    server.maintain()

    assert damaged.public_id not in {shard.public_id for shard in server.shards()}
    assert sound(server)
    assert everything(server) == before
    server.check()
    server.clock.advance(61)
    server.maintain()
    assert not path_of(server, damaged).exists()


def test_all_shards_at_once_are_searched_and_built_anew(layered, restart, rng):
    before = everything(layered)
    for shard in layered.shards():
        flip(rng.random())(path_of(layered, shard), rng)
    server = restart(layered)

    assert everything(server) == before
    server.maintain()

    assert sound(server)
    server = restart(server)
    assert everything(server) == before
    assert quarantined(server) == []


def test_the_substitute_is_built_once_for_all_processes_of_the_host(layered, restart, open_server, monkeypatch):
    before, damaged = everything(layered), layered.shards()[0]
    path_of(layered, damaged).unlink()
    built = []
    real = repair.build_shard
    monkeypatch.setattr(repair, "build_shard", lambda folder, *more: (built.append(folder.name), real(folder, *more)))

    first = restart(layered)
    second = open_server()

    assert everything(first) == everything(second) == before
    assert built == [damaged.public_id]


def test_nothing_of_a_refused_blob_is_left_in_the_cache(layered, restart, rng):
    damaged = layered.shards()[0]
    flip(0.9)(path_of(layered, damaged), rng)
    server = restart(layered)

    server.search("canary")

    opened = server.runtime.cache.root / "shards" / damaged.public_id
    assert not any(path.name.startswith("graph") for path in opened.iterdir())
    assert list(server.runtime.cache.own.rglob("*.tar")) == []


def test_a_refused_shard_is_said_once_without_names_or_content(layered, restart):
    damaged = layered.shards()[0]
    path_of(layered, damaged).unlink()
    server = restart(layered)

    with structlog.testing.capture_logs() as logs:
        for mode in MODES:
            server.search("canary", mode=mode)

    [said] = [entry for entry in logs if entry["event"] == "shard_refused"]
    assert said["reason"] == "shard_missing"
    assert (said["shard"], said["namespace"]) == (damaged.public_id, server.namespace().public_id)
    assert "canary" not in str(logs)
    assert ("maintain", server.company) in rings(server)


def rings(server):
    server.runtime.doorbell.close()
    return server.rings


def test_rows_deleted_since_leave_no_trace_in_the_substitute(layered, restart):
    damaged = layered.shards()[0]
    for number in (1, 7):
        layered.delete(f"n{number}")
    path_of(layered, damaged).unlink()
    server = restart(layered)

    found = {mode: set(server.ids("marker-7 marker-1 note", mode=mode, limit=50)) for mode in MODES}
    assert all(ids.isdisjoint({"n1", "n7"}) for ids in found.values())
    assert len(found["vector"]) == 41
    [opened] = [shard for shard in opened_by(server) if shard.id == damaged.public_id]
    assert set(opened.ids.tolist()).isdisjoint({*server.row_ids("n1"), *server.row_ids("n7")})

    server.maintain()
    assert sound(server)
    server.check()


def opened_by(server):
    return next(iter(server.tenant.snapshots._open.values())).shards


def test_a_shard_of_which_nothing_is_left_is_left_out(layered, restart):
    damaged = layered.shards()[1]
    for number in range(32, 40):
        layered.delete(f"n{number}")
    path_of(layered, damaged).unlink()
    server = restart(layered)

    assert len(server.ids("note", mode="vector", limit=50)) == 35
    server.maintain()

    assert [shard.rows for shard in server.shards()] == [32, 3]
    assert sound(server)


def test_updates_deletes_and_flushes_go_on_around_a_refused_shard(layered, restart):
    for shard in layered.shards():
        path_of(layered, shard).write_bytes(b"")
    server = restart(layered)

    server.write({"id": "n5", "content": "Rewritten: a violet umbrella."}, {"id": "new", "content": "A new umbrella."})
    server.delete("n6")
    assert server.ids("violet umbrella", limit=1) == ["n5"] or server.ids("marker-5", mode="text") == ["n5"]
    server.settle()  # the tail is rewritten from the record store, its blob is not asked

    assert set(server.ids("umbrella", mode="text")) == {"n5", "new"}
    assert "n6" not in server.ids("marker-6 note", limit=50)
    server.maintain()
    assert sound(server)
    assert len(server.ids("note umbrella", mode="vector", limit=60)) == 43
    server.check()


def test_old_versions_are_found_in_a_substitute(server, restart):
    server.write({"id": "x", "content": "The first wording, alpha."})
    server.settle()
    moment = server.clock.now
    server.clock.advance(10)
    server.write({"id": "x", "content": "The second wording, beta."})
    server.settle()
    for shard in server.shards():
        path_of(server, shard).unlink()
    server = restart(server)

    assert server.contents("wording", mode="text") == ["The second wording, beta."]
    assert server.contents("wording", mode="text", as_of=moment) == ["The first wording, alpha."]


def test_a_blob_that_is_sound_again_is_released_and_not_built_anew(layered, restart):
    before, damaged = everything(layered), layered.shards()[0]
    path = path_of(layered, damaged)
    path.rename(path.with_suffix(".away"))
    server = restart(layered)
    server.search("canary")
    assert quarantined(server) == [damaged.public_id]

    path.with_suffix(".away").rename(path)
    server.maintain()

    assert damaged.public_id in {shard.public_id for shard in server.shards()}
    assert sound(server)
    assert everything(server) == before


def test_a_blob_that_cannot_be_read_is_substituted_and_not_quarantined(layered, restart):
    before, damaged = everything(layered), layered.shards()[0]
    path = path_of(layered, damaged)
    kept = unreadable(path)
    server = restart(layered)

    with structlog.testing.capture_logs() as logs:
        assert everything(server) == before
    assert [entry["reason"] for entry in logs if entry["event"] == "shard_refused"] == ["blob_unavailable"]
    assert quarantined(server) == []

    path.unlink()
    kept.rename(path)
    server.maintain()
    assert damaged in server.shards()


def test_a_row_tampered_with_is_left_out_when_its_shard_is_built_anew(layered, restart):
    [row] = layered.row_ids("n3")
    with layered.records.database.write() as connection:
        connection.execute(memories.update().where(memories.c.id == row).values(sealed_vectors=b"garbage"))
    path_of(layered, layered.shards()[0]).unlink()
    server = restart(layered)

    assert len(server.ids("note", mode="vector", limit=50)) == 42
    server.maintain()

    assert row not in server.held()
    assert server.states()[State.FAILED] == 1
    server.check()


def test_a_broken_shard_does_not_stop_its_namespace_nor_others(layered, restart):
    layered.write({"id": "u", "content": "Unharmed."}, namespace="unharmed")
    layered.settle()
    for shard in layered.shards():
        path_of(layered, shard).write_bytes(b"")
    server = restart(layered)

    server.write({"id": "later", "content": "Written behind the broken tail."})
    server.settle()

    assert server.states()[State.INDEXED] == 44
    assert server.ids("broken tail", limit=1) == ["later"]
    assert server.ids("anything", namespace="unharmed", mode="vector") == ["u"]


def test_a_shard_of_another_namespace_is_refused(layered, restart):
    layered.write("A foreign note.", namespace="foreign")
    layered.settle()
    before, [foreign] = everything(layered), layered.shards("foreign")
    shutil.copy(path_of(layered, foreign, "foreign"), path_of(layered, layered.shards()[0]))
    server = restart(layered)

    assert everything(server) == before
    assert server.contents("foreign note", namespace="foreign") == ["A foreign note."]
    assert len(quarantined(server)) == 1


def test_an_older_shard_under_a_live_name_is_refused(server, restart):
    server.write({"id": "a", "content": "An old note."}, {"id": "b", "content": "A secret, soon deleted."})
    server.settle()
    older = path_of(server, server.shards()[0]).read_bytes()
    server.delete("b")
    server.write({"id": "c", "content": "A new note."})
    server.settle()
    [live] = server.shards()
    path_of(server, live).write_bytes(older)
    server = restart(server)

    assert sorted(server.ids("secret note", mode="vector")) == ["a", "c"]
    assert quarantined(server) == [live.public_id]
    server.maintain()
    assert sound(server)
    server.check()


def test_a_reader_that_was_paused_until_its_shard_was_gone_is_told_to_ask_again(server):
    server.write("A note.")
    server.settle()
    [listed] = server.shards()
    server.write("Another note.")
    server.settle()
    server.clock.advance(61)
    server.maintain()

    with pytest.raises(StaleGeneration):
        server.tenant.snapshots._opener(server.namespace(), listed, ())

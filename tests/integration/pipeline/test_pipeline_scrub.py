"""The scrub: damage that no reader has met is found, slowly; what could not be marked is found again."""

import pytest

from core.errors import Unavailable
from core.pipeline import repair
from core.pipeline.repair import SCRUB_EVERY_S
from core.shards.blobs import LocalBlobs
from tests.integration.pipeline.shard_damage import everything, flip, layer, path_of, quarantined, sound, unreadable
from tests.stores import BOTH

RECORD_STORES = BOTH


@pytest.fixture
def layered(server, small_tiers):
    return layer(server)


def test_the_scrub_finds_what_nobody_opened(layered, rng):
    before, damaged = everything(layered), layered.shards()[0]
    layered.maintain()  # everything is sound
    flip(rng.random())(path_of(layered, damaged), rng)  # under the feet of those who have it open

    layered.maintain()
    assert quarantined(layered) == []  # it comes by now and then
    layered.clock.advance(SCRUB_EVERY_S)
    layered.maintain()
    assert quarantined(layered) == [damaged.public_id]
    layered.maintain()

    assert damaged.public_id not in {shard.public_id for shard in layered.shards()}
    assert sound(layered)
    assert everything(layered) == before


def test_the_scrub_quarantines_what_cannot_be_read(layered):
    damaged = layered.shards()[1]
    unreadable(path_of(layered, damaged))

    layered.maintain()
    layered.maintain()

    assert damaged.public_id not in {shard.public_id for shard in layered.shards()}
    layered.check()


def test_the_scrub_goes_round_in_small_steps(layered, monkeypatch):
    read = []
    get = LocalBlobs.get
    monkeypatch.setattr(LocalBlobs, "get", lambda blobs, name: (read.append(name), get(blobs, name))[1])
    monkeypatch.setattr(repair, "SCRUB_BYTES", 1)
    order = [path_of(layered, shard).name for shard in layered.shards()]
    for _ in range(6):
        layered.maintain()
        layered.clock.advance(SCRUB_EVERY_S)

    seen = [name.rpartition("/")[2] for name in read]
    assert seen == [*order, *order]


def test_searches_go_on_while_nothing_can_be_written(layered, restart, monkeypatch):
    before = everything(layered)
    for shard in layered.shards():
        path_of(layered, shard).unlink()
    server = restart(layered)
    database = server.records.database

    def full(**_):
        raise Unavailable("the disk is full", code="store_unavailable")

    with monkeypatch.context() as broken:
        broken.setattr(database, "write", full)
        assert everything(server) == before

    assert quarantined(server) == []
    server.maintain()  # the scrub of this round comes after its compaction
    assert len(quarantined(server)) == 3
    server.maintain()
    assert sound(server)

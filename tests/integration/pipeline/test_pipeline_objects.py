"""The life of a namespace whose shards lie in an object store: written, searched, merged, lost, found, deleted."""

import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import PurePath

import pytest

from core.backup.restoring import restore_directory
from core.errors import Conflict, IntegrityError
from core.pipeline import diagnosis
from core.pipeline.diagnosis import Verdict
from core.pipeline.orphans import ORPHAN_AGE_S, orphan_age_s
from core.pipeline.verification import verify_deletion
from core.settings import load_settings
from core.shards.depot import open_depot
from core.shards.objectblobs import ObjectBlobs
from tests.backups import back_up, opened
from tests.faulty_proxy import Fault, faulty_proxy
from tests.integration.pipeline.shard_damage import everything, layer, quarantined, sound


@pytest.fixture
def proxy(s3):
    with faulty_proxy(s3.address) as proxy:
        yield proxy


@pytest.fixture
def reached(bucket, proxy, monkeypatch):
    """What ``[storage]`` says of the bucket behind the proxy."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "tester")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-a-secret")
    return bucket.settings(proxy.url)


@pytest.fixture
def on_objects(open_server, reached, tmp_path, clock):
    """Start a server whose shards lie in the bucket; its clock is the store's, which dates what it is given."""
    clock.now = int(time.time() * 1e6)

    def start(name: str = "data"):
        return open_server(load_settings(None, {"storage": {"path": tmp_path / name, **reached}}))

    return start


@pytest.fixture
def layered(on_objects, small_tiers):
    return layer(on_objects())


def live(server) -> set[str]:
    namespace = server.namespace().public_id
    return {f"{server.company}/{namespace}/{shard.public_id}.shard" for shard in server.shards()}


def objects(bucket) -> set[str]:
    return set(bucket.keys())


def died():
    raise KeyboardInterrupt  # no handler of errors sees it


def test_shards_lie_in_the_bucket_and_nowhere_else(layered, bucket):
    assert objects(bucket) == live(layered)
    assert not (layered.records.folder / "shards").exists()
    layered.check()


def test_a_warm_search_asks_the_store_for_nothing(layered, proxy):
    before = everything(layered)
    asked = len(proxy.requests)
    assert everything(layered) == before
    layered.write("A note that is not embedded yet.")
    assert layered.ids("canary", limit=3)
    assert len(proxy.requests) == asked


def test_a_lost_cache_is_fetched_anew_once_for_all_processes_of_the_host(layered, on_objects, proxy):
    before = everything(layered)
    layered.close()
    servers = [on_objects(), on_objects()]
    read = proxy.count("GET")
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(everything, servers)) == [before, before]
    assert proxy.count("GET") - read == len(servers[0].shards())


def test_merged_and_replaced_shards_leave_the_bucket(layered, bucket):
    for number in range(100, 116):
        layered.write(f"Note {number} of a canary.")
        layered.settle()
    layered.maintain()
    assert live(layered) < objects(bucket)
    layered.clock.advance(61)
    layered.maintain()
    assert objects(bucket) == live(layered)
    layered.check()


def test_what_a_dead_worker_stored_is_swept(layered, bucket, during_build):
    before = objects(bucket)
    layered.write("A note more.")
    during_build(died, ObjectBlobs)
    with pytest.raises(KeyboardInterrupt):
        layered.settle()
    [orphan] = objects(bucket) - before
    layered.clock.advance(orphan_age_s(layered.records) / 2)
    layered.maintain()
    assert orphan in objects(bucket)
    layered.clock.advance(ORPHAN_AGE_S)
    layered.maintain()
    assert orphan not in objects(bucket)
    layered.settle()
    layered.check()


def test_a_deletion_is_purged_and_can_be_verified(layered, bucket, proxy):
    receipt = layered.records.delete_namespace("notes")
    layered.maintain()
    layered.clock.advance(61)
    layered.maintain()
    assert bucket.keys() == []
    found = verify_deletion(layered.runtime.control, layered.company, layered.runtime.cache, receipt)
    assert found.holds
    assert found.receipt.purged_at


@pytest.mark.parametrize("damage", ["missing", "changed"])
def test_a_damaged_shard_costs_no_answer_and_is_built_anew(layered, on_objects, bucket, damage):
    before, victim = everything(layered), sorted(live(layered))[1]
    layered.close()
    if damage == "missing":
        bucket.remove(victim)
    else:
        bucket.write(victim, bucket.read(victim)[:-1] + b"\0")
    server = on_objects()
    assert everything(server) == before
    assert quarantined(server) == [PurePath(victim).stem]
    server.maintain()
    assert sound(server)
    assert everything(server) == before
    assert victim not in live(server)


@pytest.mark.parametrize("fault", [Fault.FORBIDDEN, pytest.param(Fault.CUT, marks=pytest.mark.long_run), Fault.SHORT])
def test_a_store_that_does_not_answer_costs_no_answer_and_no_shard(layered, on_objects, proxy, fault):
    before, shards = everything(layered), live(layered)
    layered.close()
    proxy.break_(fault, times=1_000)
    server = on_objects()
    assert everything(server) == before
    server.maintain()  # the scrub as well
    assert quarantined(server) == []
    proxy.mend()
    server.maintain()
    assert live(server) == shards
    assert sound(server)


def test_what_is_written_while_the_store_is_away_is_indexed_later(layered, proxy, bucket):
    proxy.break_(Fault.SERVER_ERROR, times=1_000)
    layered.write({"id": "new", "content": "Written while the store is away."})
    layered.settle()
    assert layered.states()["embedded"] == 1
    proxy.mend()
    layered.clock.advance(60)
    layered.settle()
    assert layered.ids("written while away", limit=1) == ["new"]
    layered.check()


def test_a_company_that_leaves_takes_its_objects_along(on_objects, bucket, proxy):
    server = on_objects()
    server.write("A note that stays.")
    server.settle()
    stays = bucket.keys()
    control = server.runtime.control
    acme = server.runtime.tenant(control.create_company("acme").id)
    for number in range(7):  # more than a page
        open_depot(control.storage, control.root).of(acme.records.company).put(f"ns_1/sh_{number}.shard", [b"x"])
    proxy.break_(Fault.FORBIDDEN, times=1_000)
    departure = server.runtime.delete_company(acme.records.company)
    assert departure.key_erased
    assert not departure.files_removed
    proxy.mend()
    server.runtime.finish_departures()
    assert bucket.keys() == stays
    assert not acme.records.folder.exists()


def test_a_backup_holds_the_shards_and_brings_them_back(layered, on_objects, bucket, reached, tmp_path):
    before, kept = everything(layered), {key: bucket.read(key) for key in live(layered)}
    control = layered.runtime.control
    backup, master, depot = back_up(control), control.master, control.depot
    layered.close()
    shutil.rmtree(tmp_path / "data")
    lost, there, _ = sorted(kept)
    bucket.remove(lost)
    restore_directory(opened(backup, master), tmp_path / "data", depot=depot)
    assert {key: bucket.read(key) for key in objects(bucket)} == kept
    assert not (tmp_path / "data" / "companies" / layered.company / "shards").exists()
    server = on_objects()
    assert everything(server) == before
    assert sound(server)
    server.close()

    bucket.write(there, b"another server's")
    with pytest.raises(IntegrityError, match="no other server"):
        restore_directory(opened(backup, master), tmp_path / "twice", depot=depot)
    assert not (tmp_path / "twice").exists()
    with pytest.raises(Conflict):
        restore_directory(opened(backup, master), tmp_path / "data", depot=depot)


def test_the_doctor_looks_into_the_bucket(layered, bucket, proxy):
    depot = layered.runtime.control.depot
    assert diagnosis.look_at_depot(depot).detail == f"in s3://{bucket.name}/some/prefix"
    assert diagnosis.look_at_shards(layered.records, layered.blobs).verdict is Verdict.OK
    bucket.write(min(live(layered)), b"short")
    assert diagnosis.look_at_shards(layered.records, layered.blobs).verdict is Verdict.FAILED
    proxy.break_(Fault.FORBIDDEN, times=100)
    for look in (
        lambda: diagnosis.look_at_depot(depot),
        lambda: diagnosis.look_at_shards(layered.records, layered.blobs),
    ):
        assert diagnosis.attempt("look", look).verdict is Verdict.FAILED

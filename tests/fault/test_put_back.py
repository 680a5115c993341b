"""A record store put back from before is noticed when it is opened; the newest one, back in its place, is taken."""

import shutil

import pytest

pytestmark = pytest.mark.long_run

FAULT = "an old record store put back"


def test_an_older_record_store_is_refused(lasting):
    topology = lasting.topology
    [store] = (topology.folder / "data" / "companies").glob("*/records.db")
    older, newest = topology.folder / "older.db", topology.folder / "newest.db"
    with lasting.under(FAULT) as traffic:
        topology.end("api", "worker")
        lasting.auditor.close()
        assert not store.with_name("records.db-wal").exists(), "it was not closed in order"
        shutil.copy(store, older)
        lasting.recover(FAULT)
        lasting.goes_on(traffic, 0.5)
        topology.end("api", "worker")
        store.rename(newest)
        shutil.copy(older, store)
        status = topology.api.spawn().wait()
        newest.replace(store)
        told = topology.api.log.read_text()
        topology.revive()
    assert status == 2
    assert "older than it was" in told

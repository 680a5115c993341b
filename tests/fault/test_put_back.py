"""A record store put back from before is noticed when it is opened; the newest one, back in its place, is taken."""

import shutil

FAULT = "an old record store put back"


def test_an_older_record_store_is_refused(topology, trial, auditor):
    topology.add_worker()
    with trial.under(FAULT) as traffic:
        topology.recover(since=0.0)
        topology.end("api", "worker")
        [store] = (topology.folder / "data" / "companies").glob("*/records.db")
        older, newest = topology.folder / "older.db", topology.folder / "newest.db"
        shutil.copy(store, older)
        topology.revive()
        trial.goes_on(traffic, 1.0)
        trial.recover(FAULT)
        topology.end("api", "worker")
        auditor.close()
        assert not store.with_name("records.db-wal").exists(), "it was not closed in order"
        store.rename(newest)
        shutil.copy(older, store)
        status = topology.api.spawn().wait()
        assert status != 0
        told = topology.api.log.read_text()
        assert "older than it was" in told
        assert "Traceback" not in told
        newest.rename(store)
        topology.revive()

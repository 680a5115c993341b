"""What a close look finds in a store that was harmed on purpose."""

import pytest
from sqlalchemy import delete, update

from core.pipeline import diagnosis
from core.pipeline.diagnosis import Verdict, attempt
from core.records.ledger import audit_ledger
from core.records.tables import Lane, jobs, memories, namespace_keys, shards
from core.shards.sealing import blob_name


@pytest.fixture
def filled(server):
    """A server with one shard."""
    server.write("one", "two", {"id": "x", "content": "three"})
    server.settle()
    return server


def change(server, statement):
    with server.records.database.write() as connection:
        connection.execute(statement)


def ledger(server):
    with server.records.database.read() as connection:
        return audit_ledger(connection)


def shard_file(server):
    [shard] = server.shards()
    return server.records.folder / "shards" / blob_name(server.namespace().public_id, shard.public_id)


def test_a_sound_store_is_found_so(filled):
    [balance] = ledger(filled).values()
    looks = [
        lambda: diagnosis.look_at_database(filled.records),
        lambda: diagnosis.look_at_keys(filled.runtime.control, filled.records),
        lambda: diagnosis.look_at_ledger({"ns_1": balance}),
        lambda: diagnosis.look_at_failures(balance),
        lambda: diagnosis.look_at_queues(filled.records, stalled_s=60),
        lambda: diagnosis.look_at_shards(filled.records, filled.blobs),
        lambda: diagnosis.look_at_models(filled.records, filled.runtime.embedder.fingerprint),
        lambda: diagnosis.look_at_schema(filled.runtime.control.place, "company", filled.company),
        lambda: diagnosis.look_at_directory(filled.runtime.control.root),
    ]
    findings = [attempt("look", look) for look in looks]
    assert [finding for finding in findings if finding.verdict is not Verdict.OK] == []


def test_missing_and_shortened_shards_are_found(filled):
    path = shard_file(filled)
    path.write_bytes(path.read_bytes()[:-1])
    finding = diagnosis.look_at_shards(filled.records, filled.blobs)
    assert finding.verdict is Verdict.FAILED
    assert path.stem in finding.detail
    path.unlink()
    assert diagnosis.look_at_shards(filled.records, filled.blobs).verdict is Verdict.FAILED


def test_a_shard_in_quarantine_is_found(filled):
    change(filled, update(shards).values(quarantined_at=1))
    finding = diagnosis.look_at_shards(filled.records, filled.blobs)
    assert (finding.verdict, "1 in quarantine" in finding.detail) == (Verdict.DEGRADED, True)


def test_files_that_nobody_lists_are_counted_and_no_fault(filled):
    shard_file(filled).with_name("sh_stray.shard").write_bytes(b"x")
    finding = diagnosis.look_at_shards(filled.records, filled.blobs)
    assert (finding.verdict, "1 files that nobody lists" in finding.detail) == (Verdict.OK, True)


def test_a_lost_row_is_found_in_its_namespace(filled):
    change(filled, delete(memories).where(memories.c.id == filled.row_ids("x")[0]))
    [balance] = ledger(filled).values()
    finding = diagnosis.look_at_ledger({"ns_1": balance, "ns_2": balance})
    assert (finding.verdict, "ns_1: 1, ns_2: 1" in finding.detail) == (Verdict.FAILED, True)


def test_losses_and_inventions_do_not_cancel_out(filled):
    filled.write("elsewhere", namespace="other")
    change(filled, update(jobs).where(jobs.c.namespace_id == filled.namespace().id).values(accepted=2))
    change(filled, update(jobs).where(jobs.c.namespace_id == filled.namespace("other").id).values(accepted=2))
    balances = {str(namespace): balance for namespace, balance in ledger(filled).items()}
    assert sorted(balance.imbalance for balance in balances.values()) == [-1, 1]
    assert diagnosis.look_at_ledger(balances).verdict is Verdict.FAILED


def test_failed_memories_are_counted(filled):
    change(filled, update(memories).where(memories.c.id == filled.row_ids("x")[0]).values(state="failed"))
    [balance] = ledger(filled).values()
    finding = diagnosis.look_at_failures(balance)
    assert (finding.verdict, finding.detail[0]) == (Verdict.DEGRADED, "1")


def test_old_work_that_nobody_does_is_found(filled):
    filled.write("bulk", lane=Lane.BULK)
    filled.clock.advance(30)
    assert diagnosis.look_at_queues(filled.records, stalled_s=60).verdict is Verdict.OK
    filled.clock.advance(31)
    finding = diagnosis.look_at_queues(filled.records, stalled_s=60)
    assert (finding.verdict, "embed-bulk" in finding.detail, "61 s" in finding.detail) == (Verdict.DEGRADED, True, True)


@pytest.mark.parametrize("harm", [delete(namespace_keys), update(namespace_keys).values(wrapped=bytes(97))])
def test_a_key_that_is_gone_or_changed_is_found_while_it_is_still_open(filled, harm):
    change(filled, harm)
    finding = attempt("keys", lambda: diagnosis.look_at_keys(filled.runtime.control, filled.records))
    assert finding.verdict is Verdict.FAILED
    assert filled.records.namespaces() == [filled.namespace()]


def test_another_model_is_found(filled):
    finding = diagnosis.look_at_models(filled.records, "other:int8:0000000000000000")
    assert (finding.verdict, filled.namespace().public_id in finding.detail) == (Verdict.FAILED, True)


def test_broken_pages_are_found(filled):
    path = filled.records.folder / "records.db"
    filled.close()
    content = bytearray(path.read_bytes())
    content[4096 * 3 : 4096 * 4] = bytes(range(256)) * 16
    path.write_bytes(content)
    records = filled.runtime.control.records(filled.company)
    assert attempt("record store", lambda: diagnosis.look_at_database(records)).verdict is Verdict.FAILED


def test_a_directory_that_others_may_enter_is_found(filled):
    root = filled.runtime.control.root
    root.chmod(0o755)
    finding = diagnosis.look_at_directory(root)
    assert (finding.verdict, "chmod 700" in finding.detail) == (Verdict.DEGRADED, True)


def test_a_disk_below_the_bound_is_found(tmp_path):
    assert diagnosis.look_at_disk(tmp_path, 0).verdict is Verdict.OK
    assert diagnosis.look_at_disk(tmp_path, 2**60).verdict is Verdict.FAILED


def test_a_cache_on_a_disk_is_found(tmp_path):
    assert diagnosis.look_at_cache(tmp_path / "none", 1, allow_disk=True).verdict is Verdict.FAILED
    assert diagnosis.look_at_cache(tmp_path, 1, allow_disk=False).verdict is Verdict.FAILED
    assert diagnosis.look_at_cache(tmp_path, 1, allow_disk=True).verdict is Verdict.DEGRADED

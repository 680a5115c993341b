"""Data of the second schema: upgraded once, with its namespaces' states sealed, and nothing of it is lost.

``data_v2.b64`` is a data directory as the second schema left it: two companies, three namespaces, two shards in one, a
memory with two versions, a deleted one, one not yet embedded, an API key and a revoked one. The shards' blobs are left
out: searches get by without them, and maintenance builds them anew.
"""

import base64
import io
import shutil
import sqlite3
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from core.backup.creating import Backup
from core.backup.header import Header
from core.backup.rewriting import rewrite, unpacked
from core.backup.snapshot import take_snapshot
from core.crypto.keys import new_file_key, wrap_backup_key
from core.errors import IntegrityError, NotFound
from core.pipeline import rotation
from core.records.apikeys import list_keys
from core.records.control import ControlStore, open_control
from core.records.reading import get_history, get_memory
from core.settings import Settings, load_settings
from tests.backups import opened, records_of
from tests.integration.pipeline.rotating import finish, rotate_master

GOLDEN = Path(__file__).parents[2] / "golden" / "data_v2.b64"
KEY = base64.b64encode(bytes(range(32))).decode()
FIVE_YEARS_S = 5 * 365 * 86_400
NEXT = base64.b64encode(bytes(range(1, 33))).decode()


@pytest.fixture
def server_settings(bare_settings):
    """The store comes from elsewhere."""
    return bare_settings


@pytest.fixture
def old(tmp_path, monkeypatch, embedder, clock) -> Settings:
    """The old data directory, as this machine's model would have embedded it: another export has another hash."""
    clock.advance(FIVE_YEARS_S)  # what the data tells of lies in the past
    monkeypatch.setenv("OSTRAKA_ENCRYPTION_KEY", KEY)
    monkeypatch.setenv("OSTRAKA_ENCRYPTION_KEY_NEXT", NEXT)
    with tarfile.open(fileobj=io.BytesIO(base64.b64decode(GOLDEN.read_text())), mode="r:xz") as tar:
        tar.extractall(tmp_path, filter="data")
    for path in (tmp_path / "data").glob("companies/*/records.db"):
        connection = sqlite3.connect(path)
        for table in ("memories", "namespaces", "shards"):
            connection.execute(
                f"UPDATE {table} SET fingerprint = ? WHERE fingerprint IS NOT NULL", [embedder.fingerprint]
            )
        connection.commit()
        connection.close()
    return load_settings(None, {"storage": {"path": str(tmp_path / "data")}})


def sealed_states(path: Path) -> list[bytes | None]:
    connection = sqlite3.connect(path)
    found = [state for (state,) in connection.execute("SELECT sealed_state FROM namespaces WHERE deleted_at IS NULL")]
    connection.close()
    return found


def check_contents(server) -> None:
    for query, expected in (
        ("what is the pet called", "cat"),
        ("black tea", "tea"),
        ("when do we leave for Lyon", "train"),
        ("E-4711", "code"),
        ("the boat is late", "late"),
    ):
        assert server.ids(query)[0] == expected
    assert server.ids("lighthouses", namespace="other") == ["x"]
    assert "gone" not in server.ids("peanuts", limit=50)
    with pytest.raises(NotFound):
        get_memory(server.records, server.namespace(), "gone")


def test_everything_of_the_second_schema_is_found_after_the_upgrade(old, open_server):
    server = open_server(old)
    server.settle()
    check_contents(server)
    assert len(get_history(server.records, server.namespace(), "tea")) == 2
    server.clock.advance(600)
    server.maintain()
    server.check()
    check_contents(server)
    second = server.runtime.control.find_company("second")
    records = server.runtime.control.records(second.id)
    assert get_memory(records, records.namespace("notes"), "second").content == "The lamp of the second company."
    keys = list_keys(server.runtime.control)
    assert [key.grant.revoked_at is None for key in keys] == [True, False]


def test_the_upgrade_seals_every_state_and_a_missing_one_is_refused_afterwards(old, open_server):
    open_server(old).close()
    control = open_control(old)
    for company in control.company_ids():
        control.records(company)
    control.close()
    for path in old.storage.path.glob("companies/*/records.db"):
        states = sealed_states(path)
        assert states
        assert None not in states
        connection = sqlite3.connect(path)
        connection.execute("UPDATE namespaces SET sealed_state = NULL")
        connection.commit()
        connection.close()
    again = open_server(old)
    with pytest.raises(IntegrityError, match="state"):
        again.search("tea")


def test_upgraded_data_takes_new_keys(old, open_server, patient):
    server = open_server(old)
    server.settle()
    rotation.rotate_namespace(server.records, "notes")
    finish(server)
    rotation.rotate_company(server.runtime.control, server.company)
    rotate_master(server)
    server.maintain()
    check_contents(server)
    found = rotation.company_rotation(server.runtime.control, server.company)
    assert (found.version, found.unfinished, found.log, found.retiring) == (2, False, False, [])
    assert [path.name for path in server.records.folder.glob("*.before-*")] == []


def backed_up(control: ControlStore, earlier: Path) -> bytes:
    """Return the backup that the second schema made of the databases in ``earlier``."""
    backup, key = "backup_earlier", new_file_key()
    with take_snapshot(control, backup, None) as snapshot:
        for path in [snapshot.folder / "control.db", *snapshot.folder.glob("companies/*/records.db")]:
            shutil.copy(earlier / path.relative_to(snapshot.folder), path)
        manifest = snapshot.manifest.model_copy(
            update={
                "control_bytes": (snapshot.folder / "control.db").stat().st_size,
                "audit_bytes": None,
                "companies": [
                    each.model_copy(
                        update={
                            "records_bytes": (snapshot.folder / "companies" / each.id / "records.db").stat().st_size
                        }
                    )
                    for each in snapshot.manifest.companies
                ],
            }
        )
        wrapped = wrap_backup_key(control.master, backup, key)
        header = Header(backup, 0, snapshot.store, control.master.key_id, 1, wrapped)
        return b"".join(Backup(header, key, replace(snapshot, manifest=manifest)).chunks())


def test_a_backup_of_the_second_schema_is_restored_into_a_company(old, open_server, tmp_path):
    shutil.copytree(old.storage.path, tmp_path / "earlier")
    server = open_server(old)
    control = server.runtime.control
    backup = opened(backed_up(control, tmp_path / "earlier"), control.master)
    with unpacked(backup, control) as saved:
        done = rewrite(
            records_of(saved),
            server.records,
            {"notes": "again"},
            backup=backup.header.backup,
            fingerprint=server.runtime.embedder.fingerprint,
            on_written=lambda _: None,
        )
    assert done.memories == 5
    assert get_memory(server.records, server.namespace("again"), "code").content

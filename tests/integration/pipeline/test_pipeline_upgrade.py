"""Data of an older release: upgraded once, after a copy was made, and nothing of it is lost.

``data_v1.b64`` is a data directory as the first schema left it: two namespaces, a memory with two versions, a deleted
one, one that was accepted and not yet embedded. Its shards are left out: the upgrade builds the index anew.
"""

import base64
import hashlib
import io
import shutil
import sqlite3
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from core.errors import NotFound, Unavailable
from core.records import control as opening
from core.records import schema, sqlite
from core.records.control import open_control
from core.records.reading import get_history, get_memory, list_memories
from core.records.sqlite import open_sqlite
from core.records.terms import NO_BOUNDS
from core.settings import Settings, load_settings
from tests.integration.processes import private_environment, run_command

GOLDEN = Path(__file__).parents[2] / "golden" / "data_v1.b64"
KEY = base64.b64encode(bytes(range(32))).decode()
HEAD = schema.HEADS["company"]


@pytest.fixture
def server_settings(bare_settings):
    """The store comes from elsewhere."""
    return bare_settings


@pytest.fixture
def old(tmp_path, monkeypatch, embedder) -> Settings:
    """The old data directory, as this machine's model would have embedded it: another export has another hash."""
    monkeypatch.setenv("OSTRAKA_ENCRYPTION_KEY", KEY)
    with tarfile.open(fileobj=io.BytesIO(base64.b64decode(GOLDEN.read_text())), mode="r:xz") as tar:
        tar.extractall(tmp_path, filter="data")
    connection = sqlite3.connect(records(tmp_path / "data"))
    for table in ("memories", "namespaces"):
        connection.execute(f"UPDATE {table} SET fingerprint = ? WHERE fingerprint IS NOT NULL", [embedder.fingerprint])
    connection.commit()
    connection.close()
    return load_settings(None, {"storage": {"path": str(tmp_path / "data")}})


def records(data: Path) -> Path:
    [found] = data.glob("companies/*/records.db")
    return found


def version(path: Path) -> str:
    connection = sqlite3.connect(path)
    [(found,)] = connection.execute("SELECT version_num FROM alembic_version")
    connection.close()
    return str(found)


def contents(path: Path) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(path)
    found = connection.execute("SELECT id, sealed, sealed_vectors, created_at FROM memories ORDER BY id").fetchall()
    connection.close()
    return found


def test_everything_is_found_after_an_upgrade(old, open_server):
    assert version(records(old.storage.path)) == "company_0001"
    server = open_server(old)
    assert version(records(old.storage.path)) == schema.HEADS["company"] != "company_0001"
    server.settle()
    for query, expected in (
        ("what is the pet called", "cat"),
        ("black tea", "tea"),
        ("when do we leave for Lyon", "train"),
        ("E-4711", "code"),
        ("the boat is delayed", "late"),
    ):
        assert server.ids(query)[0] == expected
    assert server.ids("lighthouses", namespace="other") == ["x"]
    assert server.ids("E-4711", mode="text") == ["code"]
    assert server.states()["indexed"] == 6
    assert len(get_history(server.records, server.namespace(), "tea")) == 2
    assert "gone" not in server.ids("peanuts", limit=50)
    with pytest.raises(NotFound):
        get_memory(server.records, server.namespace(), "gone")
    server.check()
    server.check("other")


def test_an_upgraded_store_goes_on(old, open_server):
    server = open_server(old)
    server.settle()
    server.write({"id": "cat", "content": "The cat is called Voxel now."}, {"id": "new", "content": "A new one."})
    server.delete("code")
    server.settle()
    server.maintain()
    assert server.contents("what is the pet called")[0] == "The cat is called Voxel now."
    assert server.ids("E-4711", mode="text") == []
    server.check()


def test_digests_from_which_requests_could_be_guessed_are_gone(old, open_server):
    digest = hashlib.sha256(b"/v1/memory\0the request").digest()
    connection = sqlite3.connect(records(old.storage.path))
    connection.execute("UPDATE jobs SET idempotency = randomblob(32), request_hash = ? WHERE id = 1", [digest])
    connection.commit()
    connection.close()
    assert digest in records(old.storage.path).read_bytes()
    open_server(old).close()
    assert digest not in records(old.storage.path).read_bytes()


def test_a_copy_is_made_first(old, open_server):
    before = contents(records(old.storage.path))
    open_server(old).close()
    copies = {path.name: path for path in old.storage.path.rglob("*.before-*")}
    assert set(copies) == {f"control.db.before-{schema.HEADS['control']}", f"records.db.before-{HEAD}"}
    for path in copies.values():
        assert path.stat().st_mode & 0o077 == 0
        assert version(path) in {"control_0001", "company_0001"}
    assert contents(copies[f"records.db.before-{HEAD}"]) == before


def test_the_command_upgrades_without_a_server(old, tmp_path):
    before = contents(records(old.storage.path))
    key = {"OSTRAKA_ENCRYPTION_KEY": KEY}
    for _ in range(2):  # the second finds nothing to do
        status, said, errors = run_command(tmp_path, "upgrade", environment=key)
        assert (status, said) == (0, "up to date: the control database and 1 of companies\n"), errors
    assert version(records(old.storage.path)) == HEAD
    [copy] = old.storage.path.rglob("records.db.before-*")
    assert contents(copy) == before


def test_companies_of_an_older_release_get_terms_without_bounds(old, monkeypatch):
    with monkeypatch.context() as killed:
        killed.setattr(opening, "adopt_earlier", lambda *_: (_ for _ in ()).throw(Unavailable("killed")))
        with pytest.raises(Unavailable):
            open_control(old)
    upgraded = open_control(old)
    assert [company.terms for company in upgraded.companies()] == [NO_BOUNDS]
    upgraded.close()


def test_a_data_directory_is_upgraded_once(old, open_server):
    open_server(old).close()
    copies = {path: path.stat().st_mtime_ns for path in old.storage.path.rglob("*.before-*")}
    open_server(old).close()
    assert {path: path.stat().st_mtime_ns for path in old.storage.path.rglob("*.before-*")} == copies


def test_two_processes_at_once_upgrade_it_once(old, tmp_path):
    command = [sys.executable, "-m", "cli.main", "export", "notes", "--data", str(old.storage.path)]
    environment = private_environment(tmp_path) | {"OSTRAKA_ENCRYPTION_KEY": KEY}
    started = [
        subprocess.Popen(command, env=environment, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    ended = [process.communicate(timeout=60) for process in started]
    assert [process.returncode for process in started] == [0, 0], ended
    assert [len(out.splitlines()) for out, _ in ended] == [5, 5]
    said = b"".join(errors for _, errors in ended)
    assert said.count(b'"event": "schema_upgrade"') == 2  # one for each database


@pytest.fixture
def failing_migration(tmp_path, monkeypatch) -> None:
    """A newer schema whose migration changes something and then fails."""
    scripts = tmp_path / "migrations"
    shutil.copytree(schema._SCRIPTS, scripts)
    (scripts / "company" / "company_failing.py").write_text(
        "from alembic import op\n"
        f'revision, down_revision, branch_labels, depends_on = "company_failing", "{HEAD}", None, None\n'
        "def upgrade():\n"
        '    op.execute("ALTER TABLE memories ADD COLUMN colour TEXT")\n'
        '    op.execute("UPDATE memories SET sealed = NULL")\n'
        '    raise OSError("the disk is gone")\n'
    )
    monkeypatch.setattr(schema, "_SCRIPTS", scripts)
    monkeypatch.setitem(schema.HEADS, "company", "company_failing")


def test_an_upgrade_that_fails_changes_nothing(old, open_server, failing_migration, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setitem(schema.HEADS, "company", HEAD)
        open_server(old).close()
    path = records(old.storage.path)
    before = contents(path)
    for _ in range(2):
        with pytest.raises(OSError, match="the disk is gone"):
            open_sqlite(path, "company")
        assert version(path) == HEAD
        assert contents(path) == before
    copy = path.with_name("records.db.before-company_failing")
    assert contents(copy) == before
    monkeypatch.setitem(schema.HEADS, "company", HEAD)
    control = open_control(old)
    store = control.records(control.company_ids()[0])
    listed = list_memories(store, store.namespace("notes"), after=0, limit=10).memories
    assert [memory.id for memory in listed] == ["cat", "train", "code", "tea", "late"]
    control.close()


def test_an_upgrade_without_room_for_the_copy_changes_nothing(old, monkeypatch):
    def full(*_: object) -> None:
        raise Unavailable("the disk is full")

    path = records(old.storage.path)
    monkeypatch.setattr(sqlite, "copy_database", full)
    with pytest.raises(Unavailable):
        open_sqlite(path, "company")
    assert version(path) == "company_0001"


def test_an_older_server_refuses_newer_data_at_its_start(old, tmp_path):
    path = records(old.storage.path)
    connection = sqlite3.connect(path)
    connection.execute("UPDATE alembic_version SET version_num = 'company_9999'")
    connection.commit()
    connection.close()
    status, _, said = run_command(tmp_path, "serve", "--port", "0", environment={"OSTRAKA_ENCRYPTION_KEY": KEY})
    assert status == 2
    assert f"schema company_9999, this server knows up to {HEAD}; start the newer server" in said
    assert version(path) == "company_9999"

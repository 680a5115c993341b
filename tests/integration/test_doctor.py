"""``ostraka doctor``, run in this process on data directories of the test's own, and beside the shared server."""

import base64
import sqlite3
import sys
from contextlib import closing

import pytest
from sqlalchemy import update

from cli.main import main
from core.records.control import open_control
from core.records.tables import jobs, memories
from core.settings import load_settings
from tests.integration.records.conftest import Desk

SCHEMAS = {"schema of control", "schema of audit", "schema of company"}
WELL = {"index files", "settings", "cache", "data directory", "disk", "Redis", *SCHEMAS, "master key", "audit log"}
OF_COMPANY = {"record store", "keys", "ledger", "failed memories", "queues", "shards", "model"}


@pytest.fixture
def doctor(tmp_path, monkeypatch, capfd, model_dir):
    """Run the command; return its status and the verdict and words of each check, and all it printed."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments, data=tmp_path / "data", **environment):
        with monkeypatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            patch.setattr(sys, "argv", ["ostraka", "doctor", "--data", str(data), *arguments])
            with pytest.raises(SystemExit) as ended:
                main()
        out, _ = capfd.readouterr()
        rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in out.splitlines() if line.startswith("│")]
        return ended.value.code, {row[1]: (row[2], row[3]) for row in rows if len(row) == 4}, out

    return run


@pytest.fixture
def desk(tmp_path):
    """A store at rest: a memory that waits, and another in a namespace that was deleted."""
    control = open_control(load_settings(None, {"storage": {"path": tmp_path / "data"}}))
    desk = Desk(control.records(control.companies()[0].id), control.clock)
    for _ in range(2):
        if desk.records.known("secret-name"):
            desk.records.delete_namespace("secret-name")
        desk.write({"content": "secret words", "id": "secret-id"}, namespace="secret-name")
    yield desk
    control.close()


def checks(found, verdict):
    return {check for check, (given, _) in found.items() if given == verdict}


def test_a_sound_store_is_found_well_and_its_ledger_shown(doctor, desk):
    status, found, out = doctor()
    assert checks(found, "ok") == set(found) == WELL | OF_COMPANY, out
    assert status == 0
    assert "fits, from generated file" in found["master key"][1]
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in out.splitlines() if line.startswith("│")]
    assert {row[0]: row[1:] for row in rows if len(row) == 9} == {
        desk.namespace("secret-name").public_id: ["1", "1", "0", "0", "0", "0", "0", "0"],
        "deleted namespaces": ["1", "0", "0", "0", "0", "1", "0", "0"],
        "all": ["2", "1", "0", "0", "0", "1", "0", "0"],
    }
    assert "secret" not in out


def test_what_is_wrong_is_named_and_the_rest_looked_at(doctor, desk):
    with desk.records.database.write() as connection:
        connection.execute(
            update(memories).where(memories.c.state == "pending").values(state="failed", error="integrity")
        )
        connection.execute(update(jobs).values(accepted=3))
    status, found, out = doctor()
    assert status == 1
    assert (checks(found, "degraded"), checks(found, "failed")) == ({"failed memories"}, {"ledger"})
    assert desk.namespace("secret-name").public_id in found["ledger"][1]
    assert checks(found, "ok") == (WELL | OF_COMPANY) - {"failed memories", "ledger"}, out


def test_no_data_is_no_reason_to_make_some(doctor, tmp_path):
    status, found, _ = doctor(data=tmp_path / "none")
    assert (status, found["data directory"][0]) == (1, "failed")
    assert not (tmp_path / "none").exists()


def test_settings_that_are_not_understood_are_named(doctor):
    status, found, _ = doctor(OSTRAKA_QUEUE__LEASE_S="0")
    assert (status, list(found)) == (1, ["settings"])
    assert "[queue] lease_s" in found["settings"][1]


def test_a_key_that_is_missing_or_another_is_named(doctor, desk):
    other = base64.b64encode(bytes(32)).decode()
    status, found, _ = doctor(OSTRAKA_ENCRYPTION_KEY=other)
    assert (status, found["master key"][0]) == (1, "failed")
    status, found, _ = doctor(XDG_CONFIG_HOME=str(desk.records.folder))
    assert (status, found["master key"][0]) == (1, "failed")
    assert "no key was found" in found["master key"][1]


@pytest.mark.parametrize("version", ["company_0001", "company_9999"])
def test_another_schema_is_named_and_left_as_it_is(doctor, desk, version):
    def stored(statement):
        with closing(sqlite3.connect(desk.records.folder / "records.db")) as connection, connection:
            return connection.execute(statement).fetchall()

    stored(f"UPDATE alembic_version SET version_num = '{version}'")
    status, found, _ = doctor()
    assert (status, checks(found, "failed")) == (1, {"schema of company"})
    assert version in found["schema of company"][1]
    assert stored("SELECT version_num FROM alembic_version") == [(version,)]


def test_a_redis_that_was_named_and_does_not_answer_is_found(doctor, desk, tmp_path):
    status, found, _ = doctor(OSTRAKA_QUEUE__REDIS_URL=f"redis+socket://{tmp_path}/none.sock")
    assert (status, checks(found, "failed")) == (1, {"Redis"})


def test_it_looks_at_a_running_server_too(doctor, server, remember, monkeypatch):
    remember("Something to look at.")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(server.folder / "config"))
    _, found, out = doctor(data=server.data)
    assert set(found) == WELL | OF_COMPANY
    assert checks(found, "failed") == set(), out
    assert found["Redis"] == ("ok", "the private one answers")
    assert server.client.get("/health").json()["status"] == "healthy"

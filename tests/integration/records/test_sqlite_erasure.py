"""What only the SQLite file can show: erased values are overwritten, and settings that promise it are on."""

from pathlib import Path

import pytest
from sqlalchemy import text

from core.pipeline.resealing import Resealing
from core.records.control import open_control
from core.records.deletion import delete_memory
from tests.stores import SQLITE

RECORD_STORES = SQLITE


@pytest.fixture
def file_bytes(desk):
    """Return everything in the database's files once the log was folded in."""

    def read() -> bytes:
        with desk.records.database.engine.connect() as connection:
            connection.execute(text("PRAGMA wal_checkpoint(TRUNCATE)"))
        return b"".join(path.read_bytes() for path in sorted(Path(desk.records.folder).glob("records.db*")))

    return read


@pytest.mark.parametrize("length", [40, 9_000], ids=["in its page", "on overflow pages"])
def test_a_deleted_rows_sealed_bytes_leave_the_file(desk, file_bytes, length):
    desk.write({"id": "x", "content": "b" * length}, "stays")
    [row, _] = desk.embed()
    desk.flush(desk.namespace())
    before = desk.row(row)
    stored = file_bytes()
    pieces = [
        sealed[at : at + 12] for sealed in (before.sealed, before.sealed_vectors) for at in range(0, len(sealed), 50)
    ]
    pieces = [piece for piece in pieces if len(piece) == 12 and piece in stored]  # not those across two pages
    assert len(pieces) > len(before.sealed) // 60

    delete_memory(desk.records, desk.namespace(), "x")

    after = file_bytes()
    assert not any(piece in after for piece in pieces)


def test_a_deleted_namespaces_wrapped_key_leaves_the_file(desk, file_bytes):
    desk.write("a")
    with desk.records.database.read() as connection:
        [wrapped] = connection.execute(text("SELECT wrapped FROM namespace_keys")).scalars()
    assert wrapped in file_bytes()

    desk.records.delete_namespace("notes")

    assert wrapped[16:48] not in file_bytes()


def test_a_deleted_namespaces_wrapped_key_leaves_the_copies_of_the_file(desk):
    desk.write("a")
    root, folder = desk.records.folder.parents[1], desk.records.folder
    copies = folder / "records.db.before-company_0003", root / "backup-work" / "companies" / folder.name / "records.db"
    for copy in copies:
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(b"a wrapped key")

    desk.records.delete_namespace("notes")
    assert Resealing(desk.records).look() == 0  # a step of maintenance

    assert [copy for copy in copies if copy.exists()] == []


def test_every_connection_is_durable_and_erases(desk, server_settings):
    reopened = open_control(server_settings)
    expected = {"journal_mode": "wal", "synchronous": 2, "secure_delete": 1, "temp_store": 2, "foreign_keys": 1}
    for database in (desk.records.database, reopened.database):
        with database.read() as connection:
            found = {name: connection.execute(text(f"PRAGMA {name}")).scalar() for name in expected}
        assert found == expected
    reopened.close()

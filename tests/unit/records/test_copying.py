"""Copies of a database in use are of one moment, private, and need no file beside them."""

import threading

import pytest
from sqlalchemy import insert, select, update

from core.errors import Unavailable
from core.records.copying import copy_database, edit_copy, read_copy
from core.records.sqlite import open_sqlite
from core.records.tables import counters


@pytest.fixture
def database(tmp_path):
    opened = open_sqlite(tmp_path / "records.db", "company")
    with opened.write() as connection:
        connection.execute(insert(counters), [{"name": "left", "value": 0}, {"name": "right", "value": 0}])
    yield opened
    opened.close()


def values(path) -> dict[str, int]:
    with read_copy(path) as connection:
        return {row.name: row.value for row in connection.execute(select(counters))}


def test_a_copy_is_of_one_moment_while_others_write(database, tmp_path):
    """Two counters always rise together; no copy sees one without the other."""
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            with database.write() as connection:
                for name in ("left", "right"):
                    raised = update(counters).where(counters.c.name == name).values(value=counters.c.value + 1)
                    connection.execute(raised)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        seen = []
        for number in range(20):
            copy_database(tmp_path / "records.db", tmp_path / f"{number}.db")
            seen.append(values(tmp_path / f"{number}.db"))
    finally:
        stop.set()
        writer.join()
    assert all(each["left"] == each["right"] for each in seen)
    assert [each["left"] for each in seen] == sorted(each["left"] for each in seen)


def test_what_is_not_committed_is_not_in_it(database, tmp_path):
    with database.write() as connection:
        connection.execute(update(counters).values(value=7))
        copy_database(tmp_path / "records.db", tmp_path / "copy.db")
    assert values(tmp_path / "copy.db") == {"left": 0, "right": 0}


def test_a_copy_is_private_and_alone(database, tmp_path):
    before = set(tmp_path.iterdir())
    copy_database(tmp_path / "records.db", tmp_path / "copy.db")
    assert values(tmp_path / "copy.db") == {"left": 0, "right": 0}
    assert set(tmp_path.iterdir()) - before == {tmp_path / "copy.db"}
    assert (tmp_path / "copy.db").stat().st_mode & 0o077 == 0


def test_a_copy_can_be_edited_and_what_is_erased_is_gone(database, tmp_path):
    with database.write() as connection:
        connection.execute(insert(counters).values(name="a-word-to-look-for", value=1))
    copy_database(tmp_path / "records.db", tmp_path / "copy.db")
    assert b"a-word-to-look-for" in (tmp_path / "copy.db").read_bytes()
    before = set(tmp_path.iterdir())
    with edit_copy(tmp_path / "copy.db") as connection:
        connection.execute(counters.delete().where(counters.c.name == "a-word-to-look-for"))
    assert set(tmp_path.iterdir()) == before
    assert b"a-word-to-look-for" not in (tmp_path / "copy.db").read_bytes()


def test_what_is_there_is_not_overwritten(database, tmp_path):
    (tmp_path / "copy.db").write_text("mine")
    with pytest.raises(FileExistsError):
        copy_database(tmp_path / "records.db", tmp_path / "copy.db")
    assert (tmp_path / "copy.db").read_text() == "mine"


def test_what_is_no_database_is_refused(tmp_path):
    (tmp_path / "noise.db").write_bytes(b"noise" * 1_000)
    for source in ("noise.db", "missing.db"):
        with pytest.raises(Unavailable, match="cannot be copied"):
            copy_database(tmp_path / source, tmp_path / f"copy of {source}")
    assert not (tmp_path / "missing.db").exists()

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, text

from core.errors import ConfigurationError
from core.records import audittables, tables
from core.records.engine import Database
from core.records.schema import HEADS
from core.records.sqlite import open_sqlite

METADATA = {"audit": audittables.audit, "control": tables.control, "company": tables.company}
KINDS = sorted(METADATA)


@pytest.fixture(params=KINDS)
def kind(request) -> str:
    return request.param


@pytest.fixture
def opened(tmp_path, kind):
    database = open_sqlite(tmp_path / "records.db", kind)
    yield database
    database.close()


def revision(database: Database) -> str:
    with database.read() as connection:
        return connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one()


def test_the_migrations_make_exactly_the_tables_in_the_code(opened, kind):
    with opened.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, METADATA[kind]) == []


def test_partial_indexes_are_partial(opened, kind):
    """Autogenerate does not compare an index's condition."""
    with opened.read() as connection:
        found = {
            (table, index["name"]): str(index["dialect_options"]["sqlite_where"])
            for table in METADATA[kind].tables
            for index in inspect(connection).get_indexes(table)
            if index.get("dialect_options")
        }
    wanted = {
        (table.name, index.name): str(index.dialect_options["sqlite"]["where"])
        for table in METADATA[kind].tables.values()
        for index in table.indexes
        if index.dialect_options["sqlite"]["where"] is not None
    }
    assert found == wanted


def test_a_new_database_is_at_the_head(opened, kind):
    assert revision(opened) == HEADS[kind]


def test_the_head_is_the_last_of_one_line_of_revisions(kind):
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    from core.records.schema import _SCRIPTS

    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS))
    config.set_main_option("path_separator", "newline")
    config.set_main_option("version_locations", str(_SCRIPTS / kind))
    script = ScriptDirectory.from_config(config)
    assert script.get_heads() == [HEADS[kind]]
    assert len(script.get_bases()) == 1


def test_opening_again_keeps_what_is_there(tmp_path):
    first = open_sqlite(tmp_path / "records.db", "company")
    with first.write() as connection:
        connection.execute(tables.counters.insert().values(name="memory", value=7))
    first.close()
    again = open_sqlite(tmp_path / "records.db", "company")
    with again.read() as connection:
        assert connection.execute(tables.counters.select()).all() == [("memory", 7)]
    again.close()


def test_a_newer_schema_is_refused_and_left_as_it_is(tmp_path, kind):
    path = tmp_path / "records.db"
    database = open_sqlite(path, kind)
    with database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :it"), {"it": f"{kind}_9999"})
    database.close()
    before = path.read_bytes()
    with pytest.raises(ConfigurationError, match=f"{kind}_9999.*{HEADS[kind]}.*start the newer server"):
        open_sqlite(path, kind)
    assert path.read_bytes() == before


def test_the_schema_of_the_other_kind_is_refused(tmp_path):
    open_sqlite(tmp_path / "records.db", "control").close()
    with pytest.raises(ConfigurationError):
        open_sqlite(tmp_path / "records.db", "company")


def test_a_migration_that_fails_leaves_no_half_made_schema(tmp_path):
    path = tmp_path / "records.db"
    import sqlite3

    blocker = sqlite3.connect(path)
    blocker.execute("CREATE TABLE memories (id INTEGER)")  # the migration will stumble over it
    blocker.commit()
    blocker.close()
    with pytest.raises(Exception, match="memories"):
        open_sqlite(path, "company")
    left = sqlite3.connect(path)
    names = {name for (name,) in left.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    left.close()
    assert names == {"memories"}

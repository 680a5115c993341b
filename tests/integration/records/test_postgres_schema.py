"""The migrations make the same tables in PostgreSQL."""

import re

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, text

from core.clock import now_us
from core.errors import ConfigurationError
from core.ids import new_id
from core.records.pgplace import PostgresPlace
from core.records.schema import HEADS, METADATA
from tests.stores import POSTGRES

RECORD_STORES = POSTGRES


@pytest.fixture(params=sorted(METADATA))
def kind(request) -> str:
    return request.param


@pytest.fixture
def place(server_settings, tmp_path):
    opened = PostgresPlace(tmp_path, server_settings.storage.database_url, None, 4)
    yield opened
    opened.close()


@pytest.fixture
def opened(place, kind):
    return place.open(kind, now_us, new_id("co"))


def test_they_are_exactly_the_tables_in_the_code(opened, kind):
    with opened.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, METADATA[kind]) == []


def test_partial_indexes_are_partial(opened, kind):
    """Autogenerate does not compare an index's condition, and the server spells it its own way."""

    def words(condition: object) -> list[str]:
        return re.findall(r"\w+", re.sub(r"::[a-z ]+|<>", " ", str(condition)))

    with opened.read() as connection:
        found = {
            (table, index["name"]): words(condition)
            for table in METADATA[kind].tables
            for index in inspect(connection).get_indexes(table)
            if (condition := index.get("dialect_options", {}).get("postgresql_where"))
        }
    wanted = {
        (table.name, index.name): words(condition)
        for table in METADATA[kind].tables.values()
        for index in table.indexes
        if (condition := index.dialect_options["postgresql"]["where"]) is not None
    }
    assert found == wanted
    assert bool(found) == (kind == "company")


def test_it_is_at_the_head_and_opens_again(place, kind):
    company = new_id("co")
    place.open(kind, now_us, company)
    place.open(kind, now_us, company)
    assert place.revision(kind, company) == HEADS[kind]
    assert place.revision("company", new_id("co")) is None


def test_a_newer_schema_is_refused(place, kind):
    company = new_id("co")
    with place.open(kind, now_us, company).write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :it"), {"it": f"{kind}_9999"})
    with pytest.raises(ConfigurationError, match=f"{kind}_9999"):
        place.open(kind, now_us, company)


def test_a_migration_that_fails_leaves_nothing(place):
    def fail(_) -> None:
        raise RuntimeError

    company = new_id("co")
    with pytest.raises(RuntimeError):
        place.open("company", now_us, company, fail)
    assert place.revision("company", company) is None
    assert company not in place.companies()
    place.open("company", now_us, company)

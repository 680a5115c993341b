"""What only PostgreSQL can show: its locks, its bounds, and a server that goes away."""

import threading
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from sqlalchemy import insert, text, update

from core.audit.log import AuditLog
from core.clock import now_us
from core.errors import ConfigurationError, IntegrityError, Unavailable
from core.ids import new_id
from core.records.claims import claim_pending
from core.records.control import open_control
from core.records.lifecycle import destroy_company
from core.records.pgplace import PostgresPlace
from core.records.postgres import PostgresDatabase
from core.records.tables import Lane, counters, memories
from tests.integration.processes import eventually
from tests.postgres_server import PostgresServer, name_of
from tests.stores import POSTGRES

RECORD_STORES = POSTGRES

HOUR_US = 3_600_000_000


@pytest.fixture
def place(server_settings, tmp_path):
    """Another process of the same store, on another host."""
    opened = PostgresPlace(tmp_path / "elsewhere", server_settings.storage.database_url, None, 8)
    yield opened
    opened.close()


@pytest.fixture
def other(place, desk) -> PostgresDatabase:
    return place.open("company", now_us, desk.records.company)


@pytest.fixture
def ask(server_settings):
    """Ask the server, on a connection apart from all others."""
    with psycopg.connect(server_settings.storage.database_url, autocommit=True) as connection:
        yield lambda statement: connection.execute(statement).fetchall()


@pytest.fixture
def waiting(ask):
    """Wait until somebody waits for a schema's lock."""
    blocked = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND database = "
    blocked += "(SELECT oid FROM pg_database WHERE datname = current_database())"
    return lambda: eventually(lambda: ask(blocked))


def setting(connection, name: str) -> str:
    return connection.execute(text(f"SHOW {name}")).scalar_one()


class TestSchemas:
    def test_a_company_has_one_of_its_own_until_it_is_deleted(self, open_store, ask):
        store = open_store()
        company = store.create_company("acme").id
        store.records(company)
        schemas = "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'ostraka%' ORDER BY nspname"
        assert (f"ostraka_{company}",) in ask(schemas)
        assert company in store.place.companies()
        destroy_company(store, company)
        store.let_go(company)
        store.place.drop(company)
        assert (f"ostraka_{company}",) not in ask(schemas)
        assert company not in store.place.companies()
        store.place.drop(company)  # once more is no error

    def test_many_processes_that_come_at_once_make_one(self, server_settings, tmp_path, ask):
        company = new_id("co")
        places = [
            PostgresPlace(tmp_path / str(number), server_settings.storage.database_url, None, 4) for number in range(6)
        ]
        with ThreadPoolExecutor(6) as pool:
            list(pool.map(lambda each: each.open("company", now_us, company), places))
        assert ask(f'SELECT count(*) FROM "ostraka_{company}".alembic_version') == [(1,)]
        for each in places:
            each.close()

    def test_an_id_that_is_none_of_ours_is_part_of_no_statement(self, place):
        with pytest.raises(IntegrityError):
            place.open("company", now_us, 'x"; DROP SCHEMA ostraka_control')

    def test_a_role_that_owns_the_database_alone_is_enough(self, postgres: PostgresServer, tmp_path):
        url = postgres.own_database()
        opened = PostgresPlace(tmp_path, url, None, 4)
        for kind in ("control", "audit"):
            opened.open(kind, now_us)
        opened.open("company", now_us, new_id("co"))
        opened.close()
        postgres.drop(url)

    def test_a_store_whose_control_schema_is_gone_is_not_begun_anew(self, open_desk, server_settings, postgres):
        open_desk()
        postgres.run("DROP SCHEMA ostraka_control CASCADE", database=name_of(server_settings.storage.database_url))
        with pytest.raises(ConfigurationError, match="holds companies"):
            open_control(server_settings)


class TestBounds:
    def test_each_transaction_brings_its_own_and_leaves_none(self, desk):
        database = desk.records.database
        with database.write() as connection:
            assert setting(connection, "synchronous_commit") == "on"
            assert setting(connection, "transaction_isolation") == "read committed"
            assert setting(connection, "lock_timeout") == "30s"
            assert setting(connection, "idle_in_transaction_session_timeout") == "15s"
        with database.write(synced=False) as connection:
            assert setting(connection, "synchronous_commit") == "off"
        with database.read() as connection:
            assert setting(connection, "synchronous_commit") == "on"
            assert setting(connection, "transaction_isolation") == "repeatable read"
            assert setting(connection, "transaction_read_only") == "on"
            assert setting(connection, "statement_timeout") == "1min"

    def test_a_role_that_does_not_wait_for_the_disk_is_refused(self, postgres, server_settings):
        name = name_of(server_settings.storage.database_url)
        postgres.run("ALTER DATABASE {} SET synchronous_commit = off", name)
        with pytest.raises(ConfigurationError, match="synchronous_commit"):
            open_control(server_settings)

    def test_when_every_connection_is_in_use_the_next_is_told_so(self, desk, server_settings, tmp_path, monkeypatch):
        monkeypatch.setattr("core.records.pgconnections._POOL_WAIT_S", 0.05)
        narrow = PostgresPlace(tmp_path, server_settings.storage.database_url, None, 1)
        database = narrow.open("company", now_us, desk.records.company)
        with database.read(), pytest.raises(Unavailable, match="database_connections"), database.read():
            pass
        narrow.close()


class TestWriters:
    def test_one_at_a_time_on_every_host(self, desk, other, waiting):
        order = []

        def write() -> None:
            with other.write() as connection:
                order.append(connection.execute(counters.select().where(counters.c.name == "seen")).one().value)

        with ThreadPoolExecutor(1) as pool:
            with desk.records.database.write() as connection:
                later = pool.submit(write)
                waiting()
                connection.execute(insert(counters).values(name="seen", value=7))
            later.result(60)
        assert order == [7]  # it reads what was committed while it waited

    def test_claims_go_on_at_once_and_take_different_rows(self, desk, other):
        desk.write("one", "two", "three", "four")

        def claim(connection) -> list[int]:
            found = claim_pending(
                connection, Lane.INTERACTIVE, now=desk.clock(), lease_us=HOUR_US, limit=2, attempts_max=5
            )
            return [row.id for row in found.rows]

        with desk.records.database.write(shared=True) as first, other.write(shared=True) as second:
            taken = claim(first), claim(second)
        assert [len(rows) for rows in taken] == [2, 2]
        assert not set(taken[0]) & set(taken[1])

    def test_a_claim_and_any_other_writer_exclude_each_other(self, desk, other, waiting):
        done = threading.Event()

        def write(**how) -> None:
            with other.write(**how):
                done.set()

        for held, wanted in (({"shared": True}, {}), ({}, {"shared": True})):
            done.clear()
            with ThreadPoolExecutor(1) as pool:
                with desk.records.database.write(**held):
                    later = pool.submit(write, **wanted)
                    waiting()
                    assert not done.is_set()
                later.result(60)
            assert done.is_set()

    def test_a_reader_waits_for_nobody_and_sees_one_moment(self, desk, other):
        desk.write("before")
        with desk.records.database.read() as reading:
            assert len(reading.execute(memories.select()).all()) == 1
            with other.write() as writing:
                writing.execute(update(memories).values(attempts=9))
            assert reading.execute(memories.select()).one().attempts == 0

    def test_a_lock_holds_on_every_host_and_its_wait_ends(self, open_store, place):
        store = open_store()
        with store.place.alone("freeze"):
            with pytest.raises(Unavailable), place.alone("freeze", 0.05):
                pass
            with place.alone("start", 0.05):
                pass
        with place.alone("freeze", 0.05):
            pass


def test_vacuum_leaves_what_is_there(desk):
    desk.write("one")
    assert desk.records.database.checkpoint()
    assert len(desk.rows(desk.namespace())) == 1


def test_the_audit_log_of_two_hosts_is_one_chain(open_store):
    from core.audit.events import Event
    from core.audit.verification import verify_log

    event = Event("key_a", "memory.add", company="co_a")
    logs: list[AuditLog] = [open_store().audit, open_store().audit]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: logs[number % 2].append([event]), range(20)))
    verdict = verify_log(logs[0])
    assert (verdict.holds, verdict.entries) == (True, 20)

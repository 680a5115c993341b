"""What PostgreSQL refuses and breaks off: what is told of it, and what is done anew."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import psycopg
import pytest
from sqlalchemy import Connection, insert, text

from core.errors import Interrupted, OstrakaError, Unavailable
from core.pipeline import groupcommit
from core.pipeline.groupcommit import GroupCommitter
from core.records.engine import Database
from core.records.tables import counters, memories
from tests.stores import POSTGRES

RECORD_STORES = POSTGRES


@pytest.fixture
def ask(server_settings):
    """Ask the server, on a connection apart from all others."""
    with psycopg.connect(server_settings.storage.database_url, autocommit=True) as connection:
        yield lambda statement: connection.execute(statement).fetchall()


def end_connections(ask) -> None:
    """Let the server end every other connection to the test's database, as an administrator would."""
    ask(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid != pg_backend_pid()"
    )


def half_done(database: Database, then: Callable[[Connection], object]) -> None:
    """Write something, and come to the end of the transaction by way of ``then``."""
    with database.write() as connection:
        connection.execute(insert(counters).values(name="half", value=1))
        then(connection)


def left_half(database: Database) -> bool:
    with database.read() as connection:
        return connection.execute(counters.select().where(counters.c.name == "half")).first() is not None


def test_what_is_refused_names_no_value(desk):
    secret = "a value that nobody may read"
    for statement in (
        insert(memories).values(id=1, handle=secret.encode()),  # the server would quote the whole row
        text(f"SELECT '{secret}'::bigint"),
    ):
        with pytest.raises(OstrakaError) as caught, desk.records.database.write() as connection:
            connection.execute(statement)
        assert not isinstance(caught.value, Unavailable)  # a fault of ours is never tried for ever
        chain = repr(caught.value) + repr(caught.value.__cause__) + caught.value.message
        assert secret not in chain
        assert secret.encode().hex() not in chain


def test_an_error_that_is_passed_over_commits_nothing(desk):
    def stumble(connection) -> None:
        with suppress(Exception):
            connection.execute(text("SELECT * FROM nothing"))

    with pytest.raises(Interrupted):
        half_done(desk.records.database, stumble)
    assert not left_half(desk.records.database)


def test_connections_that_were_ended_are_replaced_unnoticed(desk, ask):
    with ThreadPoolExecutor(4) as pool:  # several of them
        list(pool.map(lambda _: desk.records.database.freeze(), range(8)))
    end_connections(ask)
    desk.write("after")
    assert len(desk.rows(desk.namespace())) == 1


def test_a_transaction_that_was_cut_off_was_not_committed(desk, ask):
    def cut_off(connection) -> None:
        end_connections(ask)
        connection.execute(text("SELECT 1"))

    with pytest.raises(Interrupted):
        half_done(desk.records.database, cut_off)
    assert not left_half(desk.records.database)


def test_a_commit_without_an_answer_is_never_done_anew(desk, ask):
    with pytest.raises(Unavailable, match="may have been done or not") as caught:
        half_done(desk.records.database, lambda _: end_connections(ask))
    assert not isinstance(caught.value, Interrupted)


def test_adds_that_were_cut_off_are_done_anew_once(desk, ask, monkeypatch):
    real, cut = groupcommit.commit_writes, []

    def cut_off(connection, *more):
        answers = real(connection, *more)
        if not cut:
            cut.append(True)
            end_connections(ask)
            connection.execute(text("SELECT 1"))
        return answers

    monkeypatch.setattr(groupcommit, "commit_writes", cut_off)
    committer = GroupCommitter(desk.records.database, desk.clock, lambda *_: None)
    accepted = committer.submit(desk.request("one", "two")).result(60)
    committer.close()
    assert cut
    assert len(accepted.ids) == len(desk.rows(desk.namespace())) == 2


def test_a_closed_store_refuses(desk):
    desk.records.database.close()
    with pytest.raises(Unavailable, match="closed"):
        desk.records.database.freeze()

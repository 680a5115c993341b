"""Tables carried between record databases: every row, once, sealed as it is, and nothing that belongs to a process."""

from contextlib import contextmanager

import pytest
from sqlalchemy import delete, insert, select, update

from core.clock import now_us
from core.errors import IntegrityError
from core.records import tablecopy
from core.records.audittables import chain, entries
from core.records.counters import read_counter, set_counter
from core.records.frozen import Freeze, Phase
from core.records.pgplace import PostgresPlace
from core.records.places import FilePlace
from core.records.tablecopy import compare, copy_table, tables_of
from core.records.tables import api_keys, companies, counters, leases, namespaces, shards

BACKENDS = ("sqlite", "postgres")
BYTES = (b"", b"\0", bytes(range(256)), b"\xff" * 1_000)


@pytest.fixture
def open_place(tmp_path, request):
    opened = []

    def again(backend):
        number = len(opened)
        if backend == "sqlite":
            opened.append(FilePlace(tmp_path / f"place-{number}"))
        else:
            opened.append(PostgresPlace(tmp_path, request.getfixturevalue("postgres").new_database(), None, 4))
        return opened[-1]

    yield again
    for place in opened:
        place.close()


@pytest.fixture(params=[(source, target) for source in BACKENDS for target in BACKENDS], ids=" to ".join)
def places(request, open_place):
    return [open_place(backend) for backend in request.param]


@pytest.fixture
def open_both(places):
    opened = []

    def both(kind):
        pair = [place.open(kind, now_us, "co_1") for place in places]
        opened.extend(pair)
        return pair

    yield both
    for database in opened:
        database.close()


@pytest.fixture
def both(open_both):
    """Two record stores of a company; the first one is filled, and has forgotten its last shard."""
    source, target = open_both("company")
    with source.write() as connection:
        for number, value in enumerate(BYTES):
            row = {"public_id": f"ns_{number}", "handle": value or None, "sealed": value, "created_at": 2**62 + number}
            connection.execute(insert(namespaces).values(row))
        for number in range(8):
            connection.execute(insert(shards).values(shard(number)))
        set_counter(connection, "ids", 77)
        connection.execute(delete(shards).where(shards.c.public_id == "sh_7"))
    return source, target


def shard(number):
    numbers = {"tier": 0, "rows": 1, "bytes": 2**40, "key_version": 1, "generation": 1, "build_s": 0.1 * number}
    more = {"fingerprint": "f", "members": b"m", "created_at": 0, "namespace_id": 1}
    return numbers | more | {"public_id": f"sh_{number}"}


def copy(source, target, begin=None):
    with source.read() as connection:
        for table in tables_of(source.kind):
            copy_table(connection, begin or target.write, table)


def check(source, target):
    with source.read() as original, target.read() as copied:
        for table in tables_of(source.kind):
            compare(original, copied, table)


def rows_of(database, table):
    with database.read() as connection:
        return [tuple(row) for row in connection.execute(select(table).order_by(*table.primary_key))]


def test_every_row_arrives_as_it_was(both):
    source, target = both
    copy(source, target)
    check(source, target)
    for table in tables_of("company"):
        assert rows_of(target, table) == rows_of(source, table)
    assert len(rows_of(target, namespaces)) == len(BYTES)


def test_the_id_of_a_row_that_is_gone_does_not_return(both):
    source, target = both
    copy(source, target)
    with target.write() as connection:
        connection.execute(insert(shards).values(shard(9)))
        assert connection.execute(select(shards.c.id).where(shards.c.public_id == "sh_9")).scalar_one() == 9


def test_who_dies_at_any_transaction_is_followed(both, monkeypatch):
    monkeypatch.setattr(tablecopy, "_BATCH_ROWS", 2)
    source, target = both
    left, deaths = 0, 0

    class Died(BaseException):
        pass

    @contextmanager
    def mortal():
        nonlocal left
        with target.write() as connection:
            yield connection
            if left == 0:
                raise Died
            left -= 1

    while deaths < 1_000:
        left = deaths
        try:
            copy(source, target, mortal)
            break
        except Died:
            deaths += 1
    assert deaths > 2 * len(tables_of("company"))
    check(source, target)


def test_a_batch_is_bounded_by_bytes_too(both, monkeypatch):
    monkeypatch.setattr(tablecopy, "_BATCH_BYTES", 500)
    source, target = both
    told = []
    with source.read() as connection:
        copy_table(connection, target.write, namespaces, told.append)
    assert told == [3, 4]


def test_a_freeze_and_leases_stay_behind(both, open_both):
    source, target = both
    control, other_control = open_both("control")
    audit, other_audit = open_both("audit")
    with source.write() as connection:
        connection.execute(insert(leases).values(name="maintain", token="t", until=1))
    with audit.write() as connection:
        connection.execute(insert(entries).values(seq=1, at=1, sealed=b"s", link=b"l"))
        connection.execute(update(chain).values(sealed_base=b"base"))
    for original, copied in ((source, target), (control, other_control), (audit, other_audit)):
        original.set_freeze(Freeze(Phase.FROZEN))
        copy(original, copied)
        check(original, copied)
        assert copied.freeze().phase is Phase.OPEN
        assert original.freeze().phase is Phase.FROZEN or original.kind == "control"  # which has no row to hold it
    assert rows_of(target, leases) == []
    with target.read() as connection:
        assert read_counter(connection, "ids") == 77
    assert rows_of(other_audit, chain) == [(1, b"base", None, None)]
    copy(audit, other_audit)  # its one row is there already
    check(audit, other_audit)


def test_names_have_one_order_everywhere(open_both, monkeypatch):
    """A server may sort text by a language; who goes on where a copy ended must not pass over a key."""
    monkeypatch.setattr(tablecopy, "_BATCH_ROWS", 1)
    source, target = open_both("control")
    with source.write() as connection:
        connection.execute(insert(companies).values(id="co", created_at=0))
        for number, name in enumerate(("_", "a", "B", "c", "Z", "é", "e")):
            row = {"id": name, "company_id": "co", "sealed_grant": b"", "created_at": 0, "secret_hash": bytes([number])}
            connection.execute(insert(api_keys).values(row))
    with source.read() as connection:
        copy_table(connection, target.write, companies)

        @contextmanager
        def twice():
            with target.write() as writing:
                assert len(rows_of(target, api_keys)) < 4, "enough"
                yield writing

        with pytest.raises(AssertionError, match="enough"):
            copy_table(connection, twice, api_keys)
    copy(source, target)
    check(source, target)


@pytest.mark.parametrize(
    "harm",
    [
        update(namespaces).where(namespaces.c.id == 2).values(sealed=b"\1"),
        update(namespaces).where(namespaces.c.id == 1).values(sealed=None),
        update(namespaces).where(namespaces.c.id == 3).values(generation=1),
        update(shards).where(shards.c.id == 3).values(build_s=0.1),
        update(shards).where(shards.c.id == 5).values(retired_at=0),
        delete(shards).where(shards.c.id == 6),
        insert(counters).values(name="more", value=1),
        insert(shards).values(shard(9)),
    ],
)
def test_a_copy_that_differs_is_noticed(open_place, harm):
    databases = [open_place("sqlite").open("company", now_us, "co_1") for _ in range(2)]
    source, target = databases
    with source.write() as connection:
        connection.execute(
            insert(namespaces), [{"public_id": f"ns_{n}", "sealed": v, "created_at": n} for n, v in enumerate(BYTES)]
        )
        connection.execute(insert(shards), [shard(number) for number in range(8)])
    copy(source, target)
    check(source, target)
    with target.write() as connection:
        connection.execute(harm)
    with pytest.raises(IntegrityError, match=r"the copy of table (namespaces|shards|counters)"):
        check(source, target)
    for database in databases:
        database.close()


def test_a_number_that_would_return_is_noticed(both):
    source, target = both
    with source.read() as original:
        for table in tables_of("company"):
            copy_table(original, target.write, table)
    with source.write() as connection:
        connection.execute(insert(shards).values(shard(9)))
        connection.execute(delete(shards).where(shards.c.public_id == "sh_9"))
    with pytest.raises(IntegrityError, match="given out already"):
        check(source, target)

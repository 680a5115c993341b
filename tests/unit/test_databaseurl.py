from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg.conninfo import conninfo_to_dict

from core.databaseurl import is_database_url, split_password

ADDRESSES = [
    "postgresql://ostraka:geheim@db.internal:5432/records?sslmode=verify-full",
    "postgres://ostraka:ge%40heim@db1:5432,db2:5433/records?target_session_attrs=read-write",
    "postgresql://ostraka@/records?host=/run/postgresql&password=geheim",
    "postgresql:///records?user=ostraka&password=ge%26heim&password=ge%2Bheim",
    "postgresql://ostraka:@db/records",
    "postgresql://db/records",
    "postgresql://[::1]/records",
]


@pytest.mark.parametrize("url", ADDRESSES)
def test_an_address_and_its_password_say_what_both_said_together(url):
    bare, password = split_password(url)
    wanted = conninfo_to_dict(url)
    assert (password or None) == wanted.pop("password", None)
    assert conninfo_to_dict(bare) == wanted
    assert split_password(bare) == (bare, None)


@given(st.text(min_size=1))
def test_no_password_is_left_whatever_it_is(password):
    bare, found = split_password(f"postgresql://ostraka:{quote(password, safe='')}@db/records")
    assert (bare, found) == ("postgresql://ostraka@db/records", password)


@pytest.mark.parametrize(
    ("url", "is_one"),
    [("postgresql://db/x", True), ("postgres:///x", True), ("mysql://db/x", False), ("host=db", False), ("[", False)],
)
def test_only_addresses_of_postgresql_are_some(url, is_one):
    assert is_database_url(url) == is_one

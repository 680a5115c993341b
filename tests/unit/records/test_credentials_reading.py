"""API keys in the control store: what they grant, how they end, and what is refused of what was tampered with."""

import orjson
import pytest
from sqlalchemy import delete, insert, select, update

from core import limits
from core.errors import Conflict, IntegrityError, NotFound, Unauthenticated
from core.records.apikeys import create_key, has_keys, has_usable_key, list_keys, revoke_key, rotate_key, split_key
from core.records.control import ControlStore, open_control
from core.records.credentials import Credentials, read_credentials
from core.records.tables import api_keys, companies

DAY = 86_400_000_000


@pytest.fixture
def home(control: ControlStore) -> str:
    return control.find_company("default").id


def make(control: ControlStore, company: str, scopes=("read",), **more) -> str:
    return create_key(control, company, list(scopes), ["*"], more.pop("expires_at", None), **more)


def who(control: ControlStore, key: str, known: Credentials | None = None) -> frozenset[str]:
    return read_credentials(control, known).authenticate(key, control.clock()).scopes


def set_key(control: ControlStore, key: str, **values: object) -> None:
    with control.database.write() as connection:
        connection.execute(update(api_keys).where(api_keys.c.id == split_key(key)[0]).values(values))


def set_company(control: ControlStore, company: str, **values: object) -> None:
    with control.database.write() as connection:
        connection.execute(update(companies).where(companies.c.id == company).values(values))


def column(control: ControlStore, name: str, table=companies, of: str = "") -> bytes:
    with control.database.read() as connection:
        return connection.execute(select(table.c[name]).where(table.c.id == of)).scalar_one()


def test_a_key_says_who_comes(control, home):
    key = create_key(control, home, ["write", "read", "read"], ["team-*"], control.clock() + DAY, 5.0)
    found = read_credentials(control).authenticate(key, control.clock())
    assert (found.company_id, found.scopes, found.patterns) == (home, {"read", "write"}, ("team-*",))
    assert (found.key_id, found.requests_per_s) == (split_key(key)[0], 5.0)


@pytest.mark.parametrize(
    "change",
    [lambda key: key[:-1], lambda key: key + "a", lambda key: key[8:], lambda key: key[:0], lambda key: key[:8]],
)
def test_what_is_no_key_is_refused(control, home, change):
    key = make(control, home)
    with pytest.raises(Unauthenticated):
        who(control, change(key))


def test_a_revoked_key_is_refused_and_cannot_be_revoked_again(control, home):
    key, other = make(control, home), make(control, home)
    known = read_credentials(control)
    revoke_key(control, split_key(key)[0])
    with pytest.raises(Unauthenticated):
        who(control, key, known)
    with pytest.raises(NotFound):
        revoke_key(control, split_key(key)[0])
    assert who(control, other) == {"read"}


def test_a_rotated_key_goes_on_for_the_overlap_only(control, home):
    key = make(control, home, expires_at=control.clock() + DAY)
    new = rotate_key(control, split_key(key)[0], DAY // 2)
    found = read_credentials(control)
    now = control.clock()
    assert found.authenticate(key, now).scopes == found.authenticate(new, now).scopes
    with pytest.raises(Unauthenticated):
        found.authenticate(key, now + DAY // 2)
    found.authenticate(new, now + DAY // 2)
    with pytest.raises(Unauthenticated):
        found.authenticate(new, now + DAY)


def test_a_key_that_has_ended_is_not_rotated(control, home):
    key = make(control, home, expires_at=control.clock())
    with pytest.raises(Conflict):
        rotate_key(control, split_key(key)[0], DAY)


def test_nothing_of_a_key_rests_in_the_clear(control, home):
    key = make(control, home, expires_at=control.clock() + DAY)
    revoke_key(control, split_key(key)[0])
    with control.database.read() as connection:
        row = connection.execute(select(api_keys)).one()
    assert (row.expires_at, row.revoked_at) == (None, None)
    assert split_key(key)[1].encode() not in b"".join(each.read_bytes() for each in control.root.glob("control.db*"))


def test_a_company_has_only_so_many_keys_and_those_that_ended_long_ago_go(control, home, monkeypatch):
    monkeypatch.setattr(limits, "API_KEYS_MAX", 2)
    old, _ = make(control, home, expires_at=control.clock() + 1), make(control, home)
    with pytest.raises(Conflict):
        make(control, home)
    monkeypatch.setattr(limits, "API_KEY_ENDED_S", -1)
    make(control, home)
    assert split_key(old)[0] not in {key.id for key in list_keys(control)}


def test_what_did_not_change_is_not_read_again(control, home):
    make(control, home)
    known = read_credentials(control)
    assert read_credentials(control, known) is known
    other = control.create_company("other").id
    make(control, other)
    assert read_credentials(control, known).companies[home] is known.companies[home]


def test_a_key_put_back_does_nothing_in_a_process_that_saw_it_revoked(control, home):
    key = make(control, home)
    before = column(control, "sealed_grant", api_keys, split_key(key)[0])
    revoke_key(control, split_key(key)[0])
    known = read_credentials(control)
    set_key(control, key, sealed_grant=before)
    with pytest.raises(Unauthenticated):
        who(control, key, known)
    with pytest.raises(IntegrityError):
        who(control, key)


def test_a_roll_put_back_with_its_keys_is_refused_by_a_process_that_saw_the_newer(control, home):
    key = make(control, home)
    grant, roll = column(control, "sealed_grant", api_keys, split_key(key)[0]), column(control, "sealed_roll", of=home)
    revoke_key(control, split_key(key)[0])
    known = read_credentials(control)
    set_key(control, key, sealed_grant=grant)
    set_company(control, home, sealed_roll=roll)
    with pytest.raises(IntegrityError):
        who(control, key, known)


@pytest.mark.parametrize("roll", [None, b"", b"x" * 80])
def test_a_company_whose_roll_is_gone_is_closed_and_makes_no_keys(control, roll):
    other = control.create_company("other").id
    key = make(control, other)
    set_company(control, other, sealed_roll=roll)
    with pytest.raises(IntegrityError):
        who(control, key)
    with pytest.raises(IntegrityError):
        make(control, other)


def test_a_change_does_not_bless_what_was_tampered_with(control, home):
    key, other = make(control, home), make(control, home)
    set_key(control, key, sealed_grant=column(control, "sealed_grant", api_keys, split_key(other)[0]))
    for change in (lambda: make(control, home), lambda: revoke_key(control, split_key(other)[0])):
        with pytest.raises(IntegrityError):
            change()


def test_the_store_is_keyless_until_its_first_key_and_never_again(control, home):
    assert not has_keys(control)
    assert read_credentials(control).developer is not None
    key = make(control, control.create_company("other").id)  # another company's counts, too
    assert has_keys(control)
    revoke_key(control, split_key(key)[0])
    assert not has_usable_key(control)
    with control.database.write() as connection:
        connection.execute(delete(api_keys))
    assert has_keys(control)
    assert read_credentials(control).developer is None


def swap_handles(control: ControlStore, one: str, two: str) -> None:
    handles = column(control, "handle", of=one), column(control, "handle", of=two)
    set_company(control, one, handle=None)
    set_company(control, two, handle=handles[0])
    set_company(control, one, handle=handles[1])


def test_a_company_in_the_place_of_the_default_one_lets_nobody_in_and_operates_nothing(control, home):
    make(control, home)
    other = control.create_company("other").id
    key, known = make(control, other, ["admin"]), read_credentials(control)
    never = control.create_company("never-had-a-key").id
    for intruder in (never, other):
        swap_handles(control, home, intruder)
        for found in (read_credentials(control), read_credentials(control, known)):
            assert (found.home, found.developer) == (None, None)
            assert found.authenticate(key, control.clock()).company_id == other
        assert has_keys(control)
        with pytest.raises(IntegrityError):
            make(control, other)
        swap_handles(control, home, intruder)
    assert read_credentials(control).home == home


@pytest.mark.parametrize("roll", [None, b"x" * 80])
def test_a_store_whose_roll_is_missing_lets_nobody_in(control, home, roll):
    known = read_credentials(control)
    set_company(control, home, sealed_roll=roll)
    assert has_keys(control)
    assert read_credentials(control).developer is None
    assert read_credentials(control, known).developer is None


def test_keys_of_an_earlier_version_are_taken_over_with_their_revocation(control, home, server_settings):
    valid, revoked = make(control, home), make(control, home)
    for key, revoked_at in ((valid, None), (revoked, 1)):
        earlier = {"company": home, "scopes": ["read"], "patterns": ["*"], "expires_at": None}
        where = ("api-key", split_key(key)[0], column(control, "secret_hash", api_keys, split_key(key)[0]).hex())
        sealed = control.master.seal(orjson.dumps(earlier), *where)
        set_key(control, key, sealed_grant=sealed, revoked_at=revoked_at)
    name = control.master.seal(b"default", "company", home)
    set_company(control, home, sealed_roll=b"", sealed_name=name)
    again = open_control(server_settings)
    assert who(again, valid) == {"read"}
    with pytest.raises(Unauthenticated):
        who(again, revoked)
    assert has_keys(again)
    again.close()


def test_a_roll_taken_out_with_its_keys_makes_no_store_keyless(control, home, server_settings):
    make(control, home)
    with control.database.write() as connection:
        connection.execute(delete(api_keys))
    set_company(control, home, sealed_roll=b"")
    again = open_control(server_settings)
    assert has_keys(again)
    assert read_credentials(again).developer is None
    again.close()


def test_one_company_put_back_as_an_earlier_version_had_it_is_refused(control, home, server_settings):
    control.create_company("other")
    set_company(
        control, home, sealed_name=control.master.seal(b"default", "company", home), sealed_roll=b"", sealed_terms=b""
    )
    again = open_control(server_settings)
    assert read_credentials(again).developer is None
    with pytest.raises(IntegrityError):
        again.terms(home)
    again.close()


def test_keys_of_this_version_are_not_taken_over(control, home, server_settings):
    key = make(control, home)
    set_company(control, home, sealed_roll=b"")
    again = open_control(server_settings)
    with pytest.raises(IntegrityError):
        who(again, key)
    again.close()


def test_a_key_brought_from_elsewhere_closes_the_company(control, home):
    key = make(control, home)
    other = control.create_company("other").id
    with control.database.write() as connection:
        row = connection.execute(select(api_keys)).one()._mapping
        connection.execute(
            insert(api_keys).values({**row, "id": "key_x", "secret_hash": bytes(32), "company_id": other})
        )
    own = make(control, home, ["write"])
    assert who(control, key) == {"read"}
    assert who(control, own) == {"write"}
    with pytest.raises(IntegrityError):
        who(control, "ostraka_key_x.y")

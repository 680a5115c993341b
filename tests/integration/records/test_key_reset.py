"""A company whose API keys were tampered with: what it holds up, and the way out."""

import pytest
from sqlalchemy import update

from cli import keys
from core.crypto.keysource import rotating
from core.errors import IntegrityError, NotFound, Unauthenticated
from core.pipeline.rotation import rotate_master
from core.records.apikeys import create_key, has_keys, list_keys, reset_keys
from core.records.credentials import read_credentials
from core.records.lifecycle import destroy_company
from core.records.tables import api_keys, companies


@pytest.fixture
def acme(control) -> str:
    return control.create_company("acme").id


def remove_roll(control, company: str) -> None:
    with control.database.write() as connection:
        connection.execute(update(companies).where(companies.c.id == company).values(sealed_roll=None))


def damage_grant(control, company: str) -> None:
    with control.database.write() as connection:
        of_company = api_keys.c.company_id == company
        connection.execute(update(api_keys).where(of_company).values(sealed_grant=b"not what was sealed"))


def accepted(control, key: str) -> str:
    return read_credentials(control).authenticate(key, control.clock()).company_id


@pytest.mark.parametrize("tamper", [remove_roll, damage_grant])
def test_tampered_keys_stop_a_rotation_which_says_whose_until_they_are_dropped(control, acme, tamper, capsys):
    home = control.find_company("default").id
    others, dropped = create_key(control, home, ["read"], ["*"], None), create_key(control, acme, ["read"], ["*"], None)
    tamper(control, acme)
    before = control.master.key_id
    with pytest.raises(IntegrityError, match=f"API keys of company {acme} .*`ostraka keys reset`"):
        rotate_master(control, rotating(control.key_source))
    assert control.company(home).name == "default"
    assert control.master.key_id == before
    keys.reset("acme", yes=True, data=control.root)
    assert capsys.readouterr().out == "1\n"
    rotate_master(control, rotating(control.key_source))
    assert accepted(control, others) == home
    with pytest.raises(Unauthenticated):
        accepted(control, dropped)
    assert accepted(control, create_key(control, acme, ["read"], ["*"], None)) == acme
    newest = control.audit.page(limit=1).entries[0].event
    assert (newest.action, newest.result, newest.company) == ("key.reset", "ok", acme)


@pytest.mark.parametrize("tamper", [lambda *_: None, remove_roll, damage_grant])
def test_the_default_company_is_not_taken_for_one_that_never_had_a_key(control, tamper):
    home = control.find_company("default").id
    create_key(control, home, ["admin"], ["*"], None)
    tamper(control, home)
    assert reset_keys(control, home) == 1
    assert list_keys(control, home) == []
    assert has_keys(control)


def test_a_company_that_was_deleted_is_given_no_roll(control, acme):
    destroy_company(control, acme)
    with pytest.raises(NotFound):
        reset_keys(control, acme)

import base64
import logging
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import update

from core.crypto.keys import MasterKey
from core.crypto.keysource import ENV_VARIABLE, generated_key_path
from core.errors import ConfigurationError, Conflict, IntegrityError, NotFound
from core.records.companies import DEFAULT_COMPANY
from core.records.control import ControlStore, open_control
from core.records.tables import companies, company_keys, store
from core.settings import Settings, load_settings

KEY = base64.b64encode(bytes(range(32))).decode()
OTHER = base64.b64encode(bytes(32)).decode()


def store_id(control: ControlStore) -> str:
    with control.database.read() as connection:
        return connection.execute(store.select()).one().id


def test_the_first_start_makes_a_store_a_key_and_a_company(control):
    assert [company.name for company in control.companies()] == [DEFAULT_COMPANY]
    assert generated_key_path(store_id(control)).is_file()
    assert control.records(control.find_company(DEFAULT_COMPANY).id).namespaces() == []


def test_the_generated_key_lies_outside_the_data_in_a_private_file(control):
    path = generated_key_path(store_id(control))
    assert not path.is_relative_to(control.root)
    assert path.stat().st_mode & 0o777 == 0o600
    assert MasterKey(base64.b64decode(path.read_text().strip())) == control.master


def test_no_file_of_the_data_directory_holds_the_key(control):
    control.records(control.find_company(DEFAULT_COMPANY).id).ensure_namespace("notes")
    secret = control.master.secret
    for path in control.root.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert secret not in content
            assert base64.b64encode(secret) not in content
            assert secret.hex().encode() not in content


def test_names_do_not_rest_in_the_clear(control):
    control.create_company("Pseudonymous Herbs Ltd")
    control.records(control.find_company(DEFAULT_COMPANY).id).ensure_namespace("quarterly-figures")
    written = b"".join(path.read_bytes() for path in control.root.rglob("*") if path.is_file())
    for name in (b"Pseudonymous", b"quarterly", b"figures"):
        assert name not in written


def test_the_data_directory_is_ours_alone(control):
    assert control.root.stat().st_mode & 0o777 == 0o700


def test_a_second_start_opens_the_same_store(control, server_settings):
    company = control.create_company("acme")
    again = open_control(server_settings)
    assert again.find_company("acme").id == company.id
    assert again.master == control.master
    again.close()


def test_a_missing_key_is_refused_and_none_is_made(control, server_settings):
    path = generated_key_path(store_id(control))
    path.rename(path.with_suffix(".away"))
    with pytest.raises(ConfigurationError) as refused:
        open_control(server_settings)
    assert control.master.key_id in refused.value.message
    assert str(path) in refused.value.message
    assert not path.exists()


def test_another_key_is_refused(control, server_settings):
    with pytest.raises(ConfigurationError, match=control.master.key_id):
        open_control(server_settings, {ENV_VARIABLE: OTHER})


def test_a_key_readable_by_others_is_refused(control, server_settings):
    generated_key_path(store_id(control)).chmod(0o644)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        open_control(server_settings)


def test_a_key_from_the_environment_generates_none(server_settings):
    control = open_control(server_settings, {ENV_VARIABLE: KEY})
    assert control.master == MasterKey(bytes(range(32)))
    assert not generated_key_path(store_id(control)).exists()
    control.close()
    with pytest.raises(ConfigurationError, match="no key was found"):
        open_control(server_settings, {})


def test_a_key_from_a_file(tmp_path):
    key_file = tmp_path / "master.key"
    key_file.touch(mode=0o600)
    key_file.write_text(KEY)
    settings = load_settings(None, {"storage": {"path": str(tmp_path / "data"), "key_file": str(key_file)}})
    open_control(settings, {}).close()
    key_file.write_text(OTHER)
    with pytest.raises(ConfigurationError, match="configure the right key"):
        open_control(settings, {})


@pytest.mark.parametrize("environment", [{ENV_VARIABLE: "nonsense"}, {ENV_VARIABLE: KEY[:-1]}])
def test_a_first_start_with_a_bad_key_makes_no_store(server_settings, environment):
    with pytest.raises(ConfigurationError):
        open_control(server_settings, environment)
    control = open_control(server_settings, {ENV_VARIABLE: KEY})  # nothing stands in the way of the right one
    assert control.master == MasterKey(bytes(range(32)))
    control.close()


def test_a_data_path_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "data").write_text("")
    with pytest.raises(ConfigurationError, match=r"\[storage\] path"):
        open_control(load_settings(None, {"storage": {"path": str(tmp_path / "data")}}))


def test_companies_are_told_apart(control):
    one, two = control.create_company("one"), control.create_company("two")
    keys = {control.records(company.id).key.newest.secret for company in (one, two)}
    assert len(keys) == 2
    assert control.records(one.id).folder != control.records(two.id).folder
    with pytest.raises(Conflict):
        control.create_company("one")
    with pytest.raises(NotFound):
        control.find_company("three")
    with pytest.raises(NotFound):
        control.records("co_three")


def test_the_key_of_another_company_does_not_open(control):
    one, two = control.create_company("one"), control.create_company("two")
    with control.database.write() as connection:
        of_two = connection.execute(company_keys.select().where(company_keys.c.company_id == two.id)).one()
        connection.execute(
            update(company_keys).where(company_keys.c.company_id == one.id).values(wrapped=of_two.wrapped)
        )
    with pytest.raises(IntegrityError):
        control.records(one.id)


def test_the_name_of_another_company_does_not_open(control):
    one, two = control.create_company("one"), control.create_company("two")
    with control.database.write() as connection:
        of_two = connection.execute(companies.select().where(companies.c.id == two.id)).one()
        connection.execute(update(companies).where(companies.c.id == one.id).values(sealed_name=of_two.sealed_name))
    with pytest.raises(IntegrityError):
        control.companies()


def test_namespaces_have_keys_of_their_own(control):
    records = control.records(control.find_company(DEFAULT_COMPANY).id)
    one, two = records.ensure_namespace("one"), records.ensure_namespace("two")
    assert one.key.newest.secret != two.key.newest.secret
    assert records.ensure_namespace("one") == one
    other = control.records(control.create_company("acme").id)
    assert other.ensure_namespace("one").key.newest.secret != one.key.newest.secret


def test_several_first_starts_at_once_make_one_store(server_settings: Settings, tmp_path: Path):
    program = (
        "import sys; from core.records.control import open_control; from core.settings import load_settings\n"
        "control = open_control(load_settings(None, {'storage': {'path': sys.argv[1]}}))\n"
        "print(control.master.key_id, *[company.id for company in control.companies()])"
    )
    environment = {"PYTHONPATH": str(Path(__file__).parents[3]), "XDG_CONFIG_HOME": str(tmp_path / "config")}
    path = str(server_settings.storage.path)
    starts = [
        subprocess.Popen([sys.executable, "-c", program, path], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    printed = {start.communicate()[0].splitlines()[-1] for start in starts}  # above it, the news of the key
    assert [start.returncode for start in starts] == [0] * 3
    assert len(printed) == 1
    assert len(list((tmp_path / "config" / "ostraka" / "keys").iterdir())) == 1


def test_the_key_is_not_logged(server_settings, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    control = open_control(server_settings)
    control.close()
    said = caplog.text + "".join(capfd.readouterr())
    assert base64.b64encode(control.master.secret).decode() not in said
    assert control.master.secret.hex() not in said

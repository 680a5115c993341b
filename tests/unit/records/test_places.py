"""Which place the settings name, and with which password."""

from pathlib import Path

import pytest

from core.errors import ConfigurationError
from core.records import pgplace
from core.records.places import FilePlace, open_place
from core.settings import Storage, load_settings

URL = "postgresql://ostraka@db/records"


@pytest.fixture
def asked(monkeypatch) -> list[tuple[str, str | None, int, bool]]:
    """What connections are opened with; none is."""
    found: list[tuple[str, str | None, int, bool]] = []
    monkeypatch.setattr(pgplace, "Connections", lambda *how, prepare: found.append((*how, prepare)))
    return found


@pytest.fixture
def password_file(tmp_path: Path) -> Path:
    path = tmp_path / "password"
    path.write_text("from the file\n")
    path.chmod(0o600)
    return path


def storage(tmp_path: Path, **more: object) -> Storage:
    return Storage(path=tmp_path, **more)  # type: ignore[arg-type]


def test_without_an_address_it_is_the_data_directory(tmp_path):
    place = open_place(storage(tmp_path), {})
    assert isinstance(place, FilePlace)
    assert place.where == str(tmp_path)


def test_an_address_leads_to_postgresql(tmp_path, asked):
    place = open_place(storage(tmp_path, database_url=URL, database_connections=7, database_prepare=False), {})
    assert asked == [(URL, None, 7, False)]
    assert place.where == URL


def test_the_password_comes_from_where_it_is_given(tmp_path, asked, password_file):
    open_place(storage(tmp_path, database_url=URL.replace("ostraka@", "ostraka:of-the-address@")), {})
    open_place(storage(tmp_path, database_url=URL), {"PGPASSWORD": "of the variable"})
    open_place(storage(tmp_path, database_url=URL, database_password_file=password_file), {})
    assert [(url, password) for url, password, *_ in asked] == [
        (URL, "of-the-address"),
        (URL, "of the variable"),
        (URL, "from the file"),
    ]


def test_two_passwords_are_one_too_many(tmp_path, asked, password_file):
    given = storage(tmp_path, database_url=URL, database_password_file=password_file)
    with pytest.raises(ConfigurationError, match=r"PGPASSWORD and .*database_password_file") as caught:
        open_place(given, {"PGPASSWORD": "of the variable"})
    assert "of the variable" not in caught.value.message
    assert asked == []


def test_a_password_file_that_cannot_serve_is_refused(tmp_path, password_file):
    def refused(path: Path) -> str:
        with pytest.raises(ConfigurationError, match=r"database_password_file|readable by others") as caught:
            open_place(storage(tmp_path, database_url=URL, database_password_file=path), {})
        return caught.value.message

    assert "there is no file" in refused(tmp_path / "nowhere")
    password_file.chmod(0o644)
    assert "chmod 600" in refused(password_file)
    password_file.chmod(0o600)
    password_file.write_text("\n")
    assert "holds no password" in refused(password_file)
    with pytest.raises(ConfigurationError, match="no database_url"):
        open_place(storage(tmp_path, database_password_file=password_file), {})


def test_a_password_in_the_settings_file_is_refused(tmp_path, monkeypatch):
    url = "postgresql://ostraka:geheim@db/records"
    config = tmp_path / "ostraka.toml"
    config.write_text(f'[storage]\ndatabase_url = "{url}"\n')
    with pytest.raises(ConfigurationError, match="holds a password") as caught:
        load_settings(config)
    assert "geheim" not in caught.value.message
    config.write_text("")
    monkeypatch.setenv("OSTRAKA_STORAGE__DATABASE_URL", url)
    settings = load_settings(config)
    assert settings.storage.database_url == url
    assert "geheim" not in repr(settings)


def test_an_address_of_something_else_is_refused_without_being_repeated(monkeypatch):
    monkeypatch.setenv("OSTRAKA_STORAGE__DATABASE_URL", "mysql://ostraka:geheim@db/records")
    with pytest.raises(ConfigurationError, match=r"\[storage\] database_url: .*postgresql://user@host") as caught:
        load_settings()
    assert "geheim" not in caught.value.message

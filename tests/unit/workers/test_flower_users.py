"""Who may look at Flower: nobody from elsewhere without a password, and no line of the file is ever shown."""

import pytest

from core.errors import ConfigurationError
from core.settings import load_settings
from workers.flower import read_users, run_flower


@pytest.fixture
def settings_with(tmp_path):
    def make(content=None, mode=0o600):
        flower = {"host": "0.0.0.0", "port": 0}
        if content is not None:
            file = tmp_path / "users"
            file.write_text(content)
            file.chmod(mode)
            flower["users_file"] = str(file)
        return load_settings(None, {"flower": flower, "queue": {"redis_url": "redis://127.0.0.1:1/0"}})

    return make


def test_a_user_a_line(settings_with):
    assert read_users(settings_with("ada:one\n\n  bob:two:three\n")) == ["ada:one", "bob:two:three"]
    assert read_users(settings_with()) == []


@pytest.mark.parametrize(
    ("content", "mode", "says"),
    [
        ("ada:secret-word", 0o644, "chmod 600"),
        ("secret-word", 0o600, "user:password"),
        (":secret-word", 0o600, "user:password"),
        ("ada:", 0o600, "user:password"),
        ("", 0o600, "user:password"),
        ("ada:secret-wörd", 0o600, "ASCII"),
    ],
)
def test_a_file_that_would_let_in_the_wrong_ones_is_refused(settings_with, content, mode, says):
    with pytest.raises(ConfigurationError, match=says) as refused:
        read_users(settings_with(content, mode))
    assert "secret-w" not in refused.value.message


def test_a_file_that_is_not_there_is_named(settings_with, tmp_path):
    settings = settings_with("ada:one")
    (tmp_path / "users").unlink()
    with pytest.raises(ConfigurationError, match="users_file: there is no file"):
        read_users(settings)


def test_other_machines_are_not_let_in_without_a_password(settings_with):
    with pytest.raises(ConfigurationError, match="users_file is not set"):
        run_flower(settings_with(), loopback=False)

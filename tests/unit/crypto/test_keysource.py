import base64

import pytest

from core.crypto.keys import MasterKey
from core.crypto.keysource import (
    ENV_NEXT,
    ENV_VARIABLE,
    KeySource,
    RotatingKeySource,
    generated_key_path,
    open_key_source,
    rotating,
)
from core.errors import ConfigurationError
from core.settings import Storage

SECRET = bytes(range(32))
TEXT = base64.b64encode(SECRET).decode()
OTHER = base64.b64encode(bytes(32)).decode()


def source(environment=None, **storage) -> KeySource:
    return open_key_source(Storage(**storage), "store_a", environment or {})


@pytest.fixture
def key_file(tmp_path):
    path = tmp_path / "master.key"
    path.touch(mode=0o600)
    path.write_text(TEXT + "\n")
    return path


def test_none_configured_and_none_generated_is_none():
    assert source().find(None) is None


@pytest.mark.parametrize("text", [TEXT, f" {TEXT}\n"])
def test_the_environment_gives_the_key(text):
    assert source({ENV_VARIABLE: text}).find(None) == MasterKey(SECRET)


def test_a_file_gives_the_key(key_file):
    assert source(key_file=key_file).find(None) == MasterKey(SECRET)


def test_a_generated_key_is_found_again_and_only_by_its_store():
    made = rotating(source()).prepare_next()
    rotating(source()).promote(made)
    assert source().find(made.key_id) == source().find(None) == made
    assert open_key_source(Storage(), "store_b", {}).find(made.key_id) is None
    assert generated_key_path("store_a").is_file()


@pytest.mark.parametrize("names", [(0, 1), (0, 2), (1, 2), (0, 1, 2)])
def test_two_sources_are_refused_and_both_named(key_file, names):
    storage = {"key_file": key_file, "key_source": "vault"}
    wanted = [("key_file", "[storage] key_file"), ("key_source", "[storage] key_source"), (None, ENV_VARIABLE)]
    chosen = [wanted[number] for number in names]
    with pytest.raises(ConfigurationError) as refused:
        source(
            {ENV_VARIABLE: TEXT} if (None, ENV_VARIABLE) in chosen else {},
            **{name: storage[name] for name, _ in chosen if name},
        )
    for _, said in chosen:
        assert said in refused.value.message
    assert TEXT not in refused.value.message


def test_a_configured_file_that_is_not_there_is_refused_not_replaced(tmp_path):
    with pytest.raises(ConfigurationError, match="key_file"):
        source(key_file=tmp_path / "nowhere.key")
    assert not (tmp_path / "nowhere.key").exists()


def test_a_plugin_that_is_not_installed_is_named_with_those_that_are():
    with pytest.raises(ConfigurationError, match=r"\[storage\] key_source: 'enigma' is not installed; there are: "):
        source(key_source="enigma")


def test_options_without_a_plugin_are_refused():
    with pytest.raises(ConfigurationError, match="key_source_options"):
        source(key_source_options={"address": "https://vault"})


@pytest.mark.parametrize("name", [ENV_VARIABLE, ENV_NEXT])
@pytest.mark.parametrize("content", [" ", "nonsense", "schlüssel", TEXT + TEXT], ids=str)
def test_a_variable_without_a_key_is_refused(name, content):
    with pytest.raises(ConfigurationError, match=name) as refused:
        source({ENV_VARIABLE: TEXT, name: content})
    assert not content.strip() or content not in refused.value.message


def test_the_next_key_of_the_environment_is_found_by_its_id_alone():
    found = rotating(source({ENV_VARIABLE: TEXT, ENV_NEXT: OTHER}))
    following = found.prepare_next()
    assert following == MasterKey(bytes(32))
    found.promote(following)
    assert found.find(following.key_id) == following
    assert found.find(None) == found.find("0" * 16) == MasterKey(SECRET)


@pytest.mark.parametrize("following", [{}, {ENV_NEXT: TEXT}], ids=["none", "the same"])
def test_without_another_key_in_the_environment_there_is_no_rotation(following):
    with pytest.raises(ConfigurationError, match=ENV_NEXT):
        rotating(source({ENV_VARIABLE: TEXT, **following})).prepare_next()


def test_a_source_that_makes_no_keys_is_refused_for_rotation():
    class Fixed:
        where = "card 3"

        def find(self, _key_id):
            return MasterKey(SECRET)

    assert isinstance(Fixed(), KeySource)
    assert not isinstance(Fixed(), RotatingKeySource)
    with pytest.raises(ConfigurationError, match=r"card 3.*makes no keys"):
        rotating(Fixed())


def test_a_source_shows_no_key():
    for each in (source({ENV_VARIABLE: TEXT, ENV_NEXT: OTHER}), source()):
        shown = f"{each!r} {each.where} {vars(each)}"
        assert TEXT not in shown
        assert SECRET.hex() not in shown
        assert repr(SECRET) not in shown

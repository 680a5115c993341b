import base64
import os
from pathlib import Path

import pytest

from core.crypto.keys import MasterKey
from core.crypto.keysource import ENV_VARIABLE, find_master_key, generate_master_key, generated_key_path
from core.errors import ConfigurationError

SECRET = bytes(range(32))
TEXT = base64.b64encode(SECRET).decode()


@pytest.fixture
def key_file(tmp_path) -> Path:
    path = tmp_path / "master.key"
    path.touch(mode=0o600)
    path.write_text(TEXT + "\n")
    return path


def test_none_configured_and_none_generated_is_none():
    assert find_master_key(None, "store_a", {}) is None


@pytest.mark.parametrize("text", [TEXT, f" {TEXT}\n"])
def test_the_environment_gives_the_key(text):
    assert find_master_key(None, "store_a", {ENV_VARIABLE: text}) == MasterKey(SECRET)


def test_a_file_gives_the_key(key_file):
    assert find_master_key(key_file, "store_a", {}) == MasterKey(SECRET)


def test_the_environment_comes_before_the_file(key_file):
    other = base64.b64encode(bytes(32)).decode()
    assert find_master_key(key_file, "store_a", {ENV_VARIABLE: other}) == MasterKey(bytes(32))


def test_a_generated_key_is_found_again_and_only_by_its_store():
    key, path = generate_master_key("store_a")
    assert find_master_key(None, "store_a", {}) == key
    assert find_master_key(None, "store_b", {}) is None
    assert path == generated_key_path("store_a")


def test_a_generated_key_is_ours_alone():
    previous = os.umask(0)
    try:
        _, path = generate_master_key("store_a")
    finally:
        os.umask(previous)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert len(base64.b64decode(path.read_text().strip(), validate=True)) == 32


def test_a_generated_key_is_never_overwritten():
    key, _ = generate_master_key("store_a")
    with pytest.raises(FileExistsError):
        generate_master_key("store_a")
    assert find_master_key(None, "store_a", {}) == key


def test_two_stores_get_two_keys():
    assert generate_master_key("store_a")[0] != generate_master_key("store_b")[0]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o610, 0o644, 0o777])
def test_a_key_file_that_others_may_touch_is_refused(key_file, mode):
    key_file.chmod(mode)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        find_master_key(key_file, "store_a", {})


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_private_key_file_is_accepted(key_file, mode):
    key_file.chmod(mode)
    assert find_master_key(key_file, "store_a", {}) == MasterKey(SECRET)


def test_a_configured_file_that_is_not_there_is_refused_not_replaced(tmp_path):
    with pytest.raises(ConfigurationError, match="key_file"):
        find_master_key(tmp_path / "nowhere.key", "store_a", {})
    assert not (tmp_path / "nowhere.key").exists()


def test_a_folder_is_no_key_file(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir(mode=0o700)
    with pytest.raises(ConfigurationError):
        find_master_key(folder, "store_a", {})


BAD = {
    "blank": b" \n",
    "not base64": b"correct horse battery staple",
    "31 bytes": base64.b64encode(bytes(31)),
    "33 bytes": base64.b64encode(bytes(33)),
    "no padding": TEXT.rstrip("=").encode(),
    "raw bytes": bytes(range(224, 256)),
    "not ASCII": "schlüssel".encode(),
    "hexadecimal": SECRET.hex().encode(),
    "two lines": f"{TEXT}\n{TEXT}".encode(),
}


@pytest.mark.parametrize("content", BAD.values(), ids=BAD)
def test_a_file_without_a_key_is_refused_and_not_quoted(key_file, content):
    key_file.write_bytes(content)
    with pytest.raises(ConfigurationError, match="32 bytes in base64") as refused:
        find_master_key(key_file, "store_a", {})
    assert content.decode("latin-1").strip() not in refused.value.message or not content.strip()


@pytest.mark.parametrize("content", [" ", "nonsense", "schlüssel", TEXT + TEXT], ids=str)
def test_a_variable_without_a_key_is_refused(content):
    with pytest.raises(ConfigurationError, match=ENV_VARIABLE):
        find_master_key(None, "store_a", {ENV_VARIABLE: content})

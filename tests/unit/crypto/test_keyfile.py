import base64
import os
import threading
from pathlib import Path

import pytest

from core.crypto.keyfile import KeyFile, PlainFormat
from core.crypto.keys import MasterKey
from core.crypto.keysource import find_for_backup
from core.errors import ConfigurationError

SECRET = bytes(range(32))
TEXT = base64.b64encode(SECRET).decode()
KEY = MasterKey(SECRET)


@pytest.fixture
def path(tmp_path) -> Path:
    path = tmp_path / "keys" / "master.key"
    path.parent.mkdir(mode=0o700)
    path.touch(mode=0o600)
    path.write_text(TEXT + "\n")
    return path


def opened(path: Path) -> KeyFile:
    return KeyFile(path, PlainFormat(), "file")


def names(path: Path) -> set[str]:
    return {each.name for each in path.parent.iterdir()}


def test_a_made_key_is_ours_alone(tmp_path):
    path = tmp_path / "new" / "keys" / "made.key"
    previous = os.umask(0)
    try:
        made = opened(path).prepare_next()
        opened(path).promote(made)
    finally:
        os.umask(previous)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert len(base64.b64decode(path.read_text().strip(), validate=True)) == 32
    assert names(path) == {"made.key"}


def test_no_two_made_keys_are_the_same(tmp_path):
    assert opened(tmp_path / "a").prepare_next() != opened(tmp_path / "b").prepare_next()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o610, 0o644, 0o777])
def test_a_key_file_that_others_may_touch_is_refused(path, mode):
    path.chmod(mode)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        opened(path).find(None)


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_private_key_file_is_accepted(path, mode):
    path.chmod(mode)
    assert opened(path).find(None) == KEY


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o722])
def test_a_key_file_that_others_may_replace_is_refused(path, mode):
    path.parent.chmod(mode)
    with pytest.raises(ConfigurationError, match="chmod go-w"):
        opened(path).find(None)


def test_a_link_in_a_folder_of_others_is_refused(path, tmp_path):
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    (shared / "link").symlink_to(path)
    with pytest.raises(ConfigurationError, match="chmod go-w"):
        opened(shared / "link").find(None)
    shared.chmod(0o1777)  # there, nobody may rename what is another's
    assert opened(shared / "link").find(None) == KEY


def test_a_key_file_of_another_user_is_refused(path):
    if os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    os.chown(path, 12_345, -1)
    with pytest.raises(ConfigurationError, match="belongs to another user"):
        opened(path).find(None)


def test_only_a_file_is_a_key_file(path, tmp_path):
    with pytest.raises(ConfigurationError, match="is no file"):
        opened(path.parent).find(None)
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(ConfigurationError, match="is no file"):
        opened(tmp_path / "pipe").find(None)


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
def test_a_file_without_a_key_is_refused_and_not_quoted(path, content):
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match="32 bytes in base64") as refused:
        opened(path).find(None)
    assert content.decode("latin-1").strip() not in refused.value.message or not content.strip()


def test_the_next_key_lies_beside_the_current_one_and_takes_its_place(path):
    source = opened(path)
    following = source.prepare_next()
    assert source.find(None) == source.find(KEY.key_id) == KEY
    assert path.with_name("master.key.next").stat().st_mode & 0o777 == 0o600
    source.promote(following)
    source.promote(following)
    assert source.find(None) == source.find(following.key_id) == following
    old = f"master.key.old-{KEY.key_id}"
    assert names(path) == {"master.key", old}
    assert opened(path.with_name(old)).find(None) == KEY


def test_a_replaced_key_is_found_for_a_backup_and_for_nothing_else(path):
    source = opened(path)
    following = source.prepare_next()
    source.promote(following)
    assert source.find(KEY.key_id) == following
    assert find_for_backup(source, KEY.key_id) == KEY
    assert find_for_backup(source, following.key_id) == following
    assert find_for_backup(source, "0" * 16) == following
    old = path.with_name(f"master.key.old-{KEY.key_id}")
    old.write_bytes(path.read_bytes())  # another key than it says
    assert find_for_backup(source, KEY.key_id) == following
    old.unlink()
    assert find_for_backup(source, KEY.key_id) == following


def test_a_next_key_that_a_crash_left_is_taken(path):
    following = opened(path).prepare_next()
    assert opened(path).prepare_next() == following


def test_a_promotion_that_a_crash_prevented_is_made_good_once_the_store_names_the_key(path):
    following = opened(path).prepare_next()
    assert opened(path).find(following.key_id) == following
    assert names(path) == {"master.key", f"master.key.old-{KEY.key_id}"}
    assert opened(path).find(None) == following


def test_a_promotion_that_died_halfway_is_made_good(path):
    following = opened(path).prepare_next()
    path.with_name(f"master.key.old-{KEY.key_id}").write_bytes(path.read_bytes())
    assert opened(path).find(following.key_id) == following
    assert opened(path).find(None) == following


def test_only_the_prepared_key_is_promoted(path):
    opened(path).prepare_next()
    with pytest.raises(ConfigurationError, match="rotate again"):
        opened(path).promote(MasterKey(bytes(32)))
    assert opened(path).find(None) == KEY


def test_a_key_that_is_nowhere_is_answered_by_the_one_that_is_there(path):
    opened(path).prepare_next()
    assert opened(path).find("0" * 16) == KEY


def test_a_next_key_that_others_may_touch_is_refused(path):
    following = opened(path).prepare_next()
    path.with_name("master.key.next").chmod(0o644)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        opened(path).find(following.key_id)


def test_whoever_looks_while_keys_are_rotated_finds_the_one_that_the_store_names(path):
    """Each look is for a key that is the store's at that moment: the newest prepared, or the one before it."""
    named, failed, over = [KEY], [], threading.Event()

    def look() -> None:
        source = opened(path)
        while not over.is_set():
            before = named[-1]
            if (found := source.find(before.key_id)) != before and named[-1] == before:
                failed.append(found)

    lookers = [threading.Thread(target=look) for _ in range(3)]
    for looker in lookers:
        looker.start()
    source = opened(path)
    for _ in range(60):
        following = source.prepare_next()
        named.append(following)  # the store's transaction
        source.promote(following)
    over.set()
    for looker in lookers:
        looker.join()
    assert failed == []
    assert len(names(path)) == 61

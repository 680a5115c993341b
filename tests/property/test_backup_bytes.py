"""Whatever is done to a backup's bytes, it is refused, and nothing of it is put in place."""

import io
import random

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from core.backup.header import read_header
from core.backup.restoring import restore_directory, verify
from core.crypto.keys import MasterKey
from core.errors import IntegrityError, WrongKey
from core.records.control import open_control
from core.settings import load_settings
from tests.backups import back_up, list_shard, opened, records_of, remember
from tests.conftest import SEED

SAMPLES = 250  # positions behind the head; each costs a decryption


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> tuple[bytes, MasterKey]:
    """A small backup and its key."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(folder))
        control = open_control(load_settings(None, {"storage": {"path": folder / "data"}}))
    remember(records_of(control), "notes", "one", "two")
    list_shard(records_of(control), "notes")
    backup = back_up(control)
    control.close()
    return backup, control.master


def flipped(backup: bytes, position: int, flip: int) -> bytes:
    return backup[:position] + bytes([backup[position] ^ flip]) + backup[position + 1 :]


def refused(backup: bytes, master: MasterKey) -> type[IntegrityError]:
    with pytest.raises(IntegrityError) as raised:
        verify(opened(backup, master))
    return type(raised.value)


def test_it_is_right_as_it_was_made(made):
    verify(opened(*made))


def test_every_flipped_byte_of_the_head_is_refused(made):
    backup, master = made
    header, head = read_header(io.BytesIO(backup))
    key_id = range(head.index(header.master_key.encode()), head.index(header.master_key.encode()) + 16)
    key_version = range(len(head) + 12, len(head) + 16)  # of the sealed file behind it
    for position in range(len(head) + 16):
        for flip in (0x01, 0x80):
            error = refused(flipped(backup, position, flip), master)
            names_another = (position in key_id and flip == 0x01) or position in key_version
            # The version inside the wrapped key may change too: that is another key, by chance.
            assert issubclass(error, WrongKey if names_another else IntegrityError), position


def test_flipped_bytes_anywhere_are_refused(made):
    backup, master = made
    rng = random.Random(SEED)
    for _ in range(SAMPLES):
        changed = flipped(backup, rng.randrange(len(backup)), 1 << rng.randrange(8))
        refused(changed, master)


def test_every_kind_of_truncation_is_refused(made):
    backup, master = made
    rng = random.Random(SEED)
    lengths = {*range(0, 700, 13), *(len(backup) - back for back in range(1, 40)), *rng.sample(range(len(backup)), 60)}
    for length in lengths:
        refused(backup[:length], master)


@given(extra=st.binary(min_size=1, max_size=40))
def test_anything_appended_is_refused(made, extra):
    refused(made[0] + extra, made[1])


@given(data=st.data())
def test_no_edit_is_restored(made, tmp_path_factory, data):
    backup, master = made
    start = data.draw(st.integers(0, len(backup)))
    stop = data.draw(st.integers(start, len(backup)))
    edited = backup[:start] + data.draw(st.binary(max_size=40)) + backup[stop:]
    assume(edited != backup)
    folder = tmp_path_factory.mktemp("restored")
    with pytest.raises(IntegrityError):
        restore_directory(opened(edited, master), folder / "data")
    assert list(folder.iterdir()) == []


@given(noise=st.binary(max_size=200))
@example(noise=b"OSTRAKB\x01\0\0\0\2{}")
def test_noise_is_no_backup(made, noise):
    refused(noise, made[1])

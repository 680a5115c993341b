"""What stops a start: one line that names the setting and the remedy, and exit status 2."""

import base64
import os
import shutil

import pytest

from tests.commands import run_here
from tests.integration.processes import Process


def refused(tmp_path, *flags, **environment):
    """Start a server that must refuse; return what it says."""
    server = Process(tmp_path, "serve", "--port", "0", *flags, environment=environment)
    try:
        status = server.spawn().wait()
    finally:
        server.discard()
    text = server.log.read_text()
    assert status == 2, text
    return text


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("OSTRAKA_ENCRYPTION_KEY", "c2hvcnQ=", "OSTRAKA_ENCRYPTION_KEY"),
        ("OSTRAKA_STORAGE__KEY_FILE", "/nowhere/key", "[storage] key_file"),
    ],
)
def test_an_impossible_key_is_named(tmp_path, name, value, says):
    assert says in refused(tmp_path, **{name: value})


def test_a_port_in_use_is_named(tmp_path, server):
    port = server.url.rpartition(":")[2]
    assert "[server] port" in refused(tmp_path, "--port", port)


def test_listening_to_the_world_without_a_key_is_refused(tmp_path):
    assert "[server] host" in refused(tmp_path, "--host", "0.0.0.0")


def test_a_cache_on_disk_is_refused(tmp_path):
    if os.statvfs(tmp_path).f_fsid == os.statvfs("/dev/shm").f_fsid:
        raise AssertionError("the temporary directory of the tests is a tmpfs")
    assert "[cache] path" in refused(tmp_path, OSTRAKA_CACHE__PATH=str(tmp_path))


def test_a_lost_master_key_is_refused_and_no_new_one_made(tmp_path):
    assert run_here(tmp_path, "keys", "list")[0] == 0  # makes the store and its key
    shutil.rmtree(tmp_path / "config")
    says = refused(tmp_path)
    assert "no key was found" in says
    assert "OSTRAKA_ENCRYPTION_KEY" in says
    assert not list(tmp_path.glob("config/**/*.key"))


def test_another_master_key_is_refused(tmp_path):
    keys = [base64.b64encode(os.urandom(32)).decode() for _ in range(2)]
    assert run_here(tmp_path, "keys", "list", environment={"OSTRAKA_ENCRYPTION_KEY": keys[0]})[0] == 0
    assert "configure the right key" in refused(tmp_path, OSTRAKA_ENCRYPTION_KEY=keys[1])


def test_a_key_file_that_others_can_read_is_refused(tmp_path):
    file = tmp_path / "key"
    file.write_text(base64.b64encode(os.urandom(32)).decode())
    file.chmod(0o644)
    assert "chmod 600" in refused(tmp_path, OSTRAKA_STORAGE__KEY_FILE=str(file))

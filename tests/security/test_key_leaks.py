"""A master key that is known, a server that works, fails and crashes with it, and a search for the key everywhere."""

import base64
import json
import os
import resource
import secrets
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import redis

from tests.integration.processes import ROOT, Server, eventually, run_command, running
from tests.plugins import install_plugin
from tests.vault_double import VaultDouble

KEY = secrets.token_bytes(32)
TEXT = base64.b64encode(KEY).decode()
TOKEN = "hvs.CAESIJ" + secrets.token_hex(20)


def disguises(secret: bytes) -> set[bytes]:
    """Return the spellings of a secret: itself, hexadecimal, and what base64 makes of it at each place of a text."""
    found = {secret, secret.hex().encode(), secret.hex().upper().encode()}
    for shift in range(3):
        whole = base64.b64encode(bytes(shift) + secret)
        core = whole[4 if shift else 0 : len(whole) - 4]
        found |= {core, core.translate(bytes.maketrans(b"+/", b"-_"))}
    return found


WANTED = disguises(KEY) | {TOKEN.encode()}


def holds_key(content: bytes) -> bool:
    return any(spelling in content for spelling in WANTED)


def test_the_search_finds_a_key_in_any_disguise():
    for content in (KEY, TEXT.encode(), KEY.hex().encode(), base64.b64encode(b"a word before " + KEY + b" and after")):
        assert holds_key(b"before" + content + b"after")
    assert not holds_key(secrets.token_bytes(1_000_000))


def leaking_files(folder: Path) -> list[Path]:
    contents = {}
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):  # a server at work replaces files
            if path.is_file() and not path.is_symlink():
                contents[path] = path.read_bytes()
    assert contents
    return [path for path, content in contents.items() if holds_key(content)]


def leaking_processes(processes: list[psutil.Process]) -> list[str]:
    """Return the files of `/proc` that show the key; one that even we may not read shows nothing."""
    leaks = []
    for process in processes:
        for name in ("environ", "cmdline"):
            shown = Path(f"/proc/{process.pid}/{name}")
            try:
                content = shown.read_bytes()
            except PermissionError:
                continue
            assert content
            if holds_key(content):
                leaks.append(f"{shown} of {process.cmdline()}")
    return leaks


def leaking_redis(socket: Path) -> list[bytes]:
    with redis.Redis(unix_socket_path=str(socket)) as client:
        names = client.keys("*")
        assert names  # Celery's own
        return [name for name in names if holds_key(name + (client.dump(name) or b""))]


@pytest.fixture
def dumps_wanted() -> Iterator[None]:
    """Let children dump core as far as this machine allows, unless they refuse."""
    soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_CORE, (soft, hard))


def configured(source: str, keys: Path, vault: VaultDouble) -> dict[str, str]:
    """Put the key where a source finds it; return the variables that say where."""
    if source == "variable":
        return {"OSTRAKA_ENCRYPTION_KEY": TEXT}
    file = keys / "master.key"
    file.touch(mode=0o600)
    if source == "file":
        file.write_text(TEXT)
        return {"OSTRAKA_STORAGE__KEY_FILE": str(file)}
    file.write_text(vault.seal(KEY))
    install_plugin(keys, "vault-here", "core.crypto.vault:open_vault")
    options = {"address": vault.address, "key": "ostraka", "file": str(file)}
    return {
        "PYTHONPATH": f"{ROOT}{os.pathsep}{keys}",
        "OSTRAKA_STORAGE__KEY_SOURCE": "vault-here",
        "OSTRAKA_STORAGE__KEY_SOURCE_OPTIONS": json.dumps(options),
    }


@pytest.fixture
def vault() -> Iterator[VaultDouble]:
    vault = VaultDouble()
    vault.tokens = {TOKEN}
    yield vault
    vault.close()


@pytest.fixture(params=["variable", *(pytest.param(name, marks=pytest.mark.long_run) for name in ("file", "vault"))])
def server(request, tmp_path, tmp_path_factory, vault, dumps_wanted) -> Iterator[Server]:
    folder = tmp_path / "server"
    (folder / "temporary").mkdir(parents=True)
    cache = Path(tempfile.mkdtemp(prefix="ostraka-test-", dir="/dev/shm"))  # opened shards lie in memory
    environment = configured(request.param, tmp_path_factory.mktemp("keys"), vault) | {
        "OSTRAKA_CACHE__PATH": str(cache),
        "VAULT_TOKEN": TOKEN,
        "OSTRAKA_SERVER__LOG_LEVEL": "debug",
        "TMPDIR": str(folder / "temporary"),
        "PYTHONFAULTHANDLER": "1",
    }
    server = Server(folder, environment=environment)
    try:
        yield server.start()
    finally:
        server.discard()
        shutil.rmtree(cache)


def work(server: Server) -> None:
    """Write and search, with mistakes that are answered by errors."""
    memory = {"namespace": "notes", "content": "The potsherd names Themistocles."}
    assert server.client.post("/v1/memory", params={"wait": True}, json=memory).status_code == 201
    assert server.client.post("/v1/memory/search", json={"namespace": "notes", "query": "potsherd"}).json()["results"]
    for path, body in (("/v1/memory", b"{"), ("/v1/memory/search", b"[]"), ("/v1/memory", b'{"namespace": 1}')):
        assert server.client.post(path, content=body).status_code >= 400


def test_the_key_is_nowhere_but_in_memory(server):
    work(server)
    processes = [psutil.Process(server.pid), *server.children()]
    assert len(processes) == 3
    assert leaking_processes(processes) == []
    assert leaking_redis(server.socket) == []
    assert leaking_files(Path(server.environment["OSTRAKA_CACHE__PATH"])) == []  # shards that are open now

    worker = server.worker
    worker.send_signal(signal.SIGABRT)
    eventually(lambda: not running(worker))
    work(server)  # by a worker that was handed the key anew
    processes = [psutil.Process(server.pid), *server.children()]
    assert leaking_processes(processes) == []
    server.end(signal.SIGABRT)
    psutil.wait_procs(processes[1:], 60)

    (server.data / "control.db").write_bytes(b"no database")
    for command in (["keys", "list"], ["doctor"]):
        status, out, err = run_command(server.folder, *command, environment=server.environment)
        assert status
        assert not holds_key((out + err).encode())
    assert list(server.folder.glob("core*")) == []
    assert leaking_files(server.folder) == []

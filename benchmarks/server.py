"""A real server for a run: ``ostraka serve`` in processes of its own, on a throw-away data directory."""

import base64
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import orjson
import psutil

from benchmarks.wire import Client

ROOT: Final = Path(__file__).resolve().parent.parent
_KEPT_VARIABLES: Final = {"OSTRAKA_MODELS_DIR"}  # the models are the machine's; other settings would change the figures
_START_S: Final = 120.0
_STOP_S: Final = 60.0
_BUSY_CPU_PERCENT: Final = 5.0


class ServerDiedError(Exception):
    """The server did not start, or did not stay."""


class Server:
    """A data directory and, while it is started, the processes that serve it."""

    def __init__(self, folder: Path, settings: Mapping[str, str] | None = None) -> None:
        """``folder`` will hold the data, the key and the log; ``settings`` are variables."""
        self.folder = folder
        self.data = folder / "data"
        self.log = folder / "server.log"
        self.environment = child_environment(base64.b64encode(secrets.token_bytes(32)).decode()) | dict(settings or {})
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        self._key = self._create_key()

    def start(self) -> Client:
        """Start the server and return a client once it answers. Raises ``ServerDiedError``."""
        with self.log.open("ab") as log:
            begin = log.tell()
            self._process = subprocess.Popen(
                [*self._command("serve"), "--port", "0"], cwd=self.folder, env=self.environment, stdout=log, stderr=log
            )
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline and self._process.poll() is None:
            url = _listening_url(self.log.read_bytes()[begin:])
            if url and _accepts(*url):
                return Client(*url, self._key)
            time.sleep(0.01)
        self.stop()
        raise ServerDiedError(f"the server did not start; its log ends with:\n{self._log_end()}")

    def stop(self) -> None:
        """Stop the server as Ctrl-C does."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signal.SIGINT)
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise ServerDiedError("the server did not stop in time and was killed") from None

    def processes(self) -> dict[str, psutil.Process]:
        """Return the processes by role: serve, worker, redis."""
        if self._process is None or self._process.poll() is not None:
            raise ServerDiedError(f"the server is not running; its log ends with:\n{self._log_end()}")
        serve = psutil.Process(self._process.pid)
        found = {"serve": serve}
        for child in serve.children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                found[_role(child.cmdline())] = child
        return found

    def settle(self, limit_s: float = 90.0, calm_s: int = 2) -> bool:
        """Wait until the worker has been idle for so long (compaction included); say whether it came to rest."""
        worker = self.processes()["worker"]
        deadline, calm = time.monotonic() + limit_s, 0
        while calm < calm_s and time.monotonic() < deadline:
            calm = calm + 1 if worker.cpu_percent(interval=1.0) < _BUSY_CPU_PERCENT else 0
        return calm >= calm_s

    def _create_key(self) -> str:
        made = subprocess.run(
            self._command("keys", "create", "--scope", "read,write"),
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            check=False,
            timeout=_START_S,
        )
        if made.returncode:
            raise ServerDiedError(made.stderr.decode(errors="replace"))
        return made.stdout.decode().strip()

    def _command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "cli.main", *words, "--data", str(self.data)]

    def _log_end(self) -> str:
        return self.log.read_text(errors="replace")[-3_000:] if self.log.exists() else "(nothing)"


def child_environment(key: str | None = None) -> dict[str, str]:
    """Return the environment of a process under test: ours, without settings that would change what it does."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith("OSTRAKA_") or name in _KEPT_VARIABLES
    }
    return {**kept, "PYTHONPATH": str(ROOT), **({"OSTRAKA_ENCRYPTION_KEY": key} if key else {})}


@contextmanager
def serving(folder: Path, settings: Mapping[str, str] | None = None) -> Iterator[tuple[Server, Client]]:
    """Yield a started server on a fresh folder, stopped in the end."""
    server = Server(folder, settings)
    try:
        yield server, server.start()
    finally:
        server.stop()


def _listening_url(log: bytes) -> tuple[str, int] | None:
    for line in log.splitlines():
        if line.startswith(b"{") and b'"listening"' in line:
            with suppress(orjson.JSONDecodeError):
                url = urlsplit(orjson.loads(line)["url"])
                return str(url.hostname), int(url.port or 0)
    return None


def _accepts(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True


def _role(command: list[str]) -> str:
    if any("redis" in word for word in command[:1]):
        return "redis"
    return "worker" if "worker" in command else " ".join(command[:3])

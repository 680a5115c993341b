"""Real processes of ours under test: started as a user starts them, watched through their log, stopped by signal."""

import fcntl
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Self, TypeVar

import httpx
import psutil

from core.pipeline.doorbell import MAINTAIN
from workers.app import create_celery, publisher

ROOT = Path(__file__).parents[2]
START_S = 60.0
END_S = 60.0
# As many as any test has threads: a connection that the pool closes as one too many may be another thread's by then.
CONNECTIONS = httpx.Limits(max_connections=100, max_keepalive_connections=100)
_T = TypeVar("_T")


def eventually(look: Callable[[], _T], within_s: float = 60.0, every_s: float = 0.02) -> _T:
    """Return the first true answer of ``look``; fail with the last one when the time is up."""
    deadline = time.monotonic() + within_s
    while not (found := look()):
        assert time.monotonic() < deadline, f"still {found!r} after {within_s} s"
        time.sleep(every_s)
    return found


def free_port() -> int:
    """Return a TCP port of loopback that nobody listens on, for what must know it beforehand."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


class Process:
    """One ``ostraka`` command on a data directory, with settings and keys of its own."""

    program: tuple[str, ...] = ("-m", "cli.main")
    prefix: tuple[str, ...] = ()  # the command that runs it elsewhere; it must become it

    def __init__(self, folder: Path, *arguments: str, environment: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.arguments = [*arguments, "--data", str(self.data)]
        self.environment = private_environment(folder) | dict(environment or {})
        self.log = folder / f"{arguments[0]}-{id(self)}.log"
        self._popen: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._popen is not None
        return self._popen.pid

    def spawn(self) -> Self:
        with self.log.open("wb") as log:
            command = [*self.prefix, sys.executable, *self.program, *self.arguments]
            self._popen = subprocess.Popen(command, env=self.environment, cwd=self.folder, stderr=log, stdout=log)
        return self

    def event(self, name: str, within_s: float = START_S) -> dict[str, Any]:
        """Return the first log event of that name, waiting for it."""
        deadline = time.monotonic() + within_s
        while True:
            for line in self.log.read_text(errors="replace").splitlines():
                if line.startswith("{") and line.endswith("}") and (found := json.loads(line))["event"] == name:
                    return found
            assert self.returncode is None, f"ended with {self.returncode}: {self.log.read_text()}"
            assert time.monotonic() < deadline, f"no event {name}: {self.log.read_text()}"
            time.sleep(0.02)

    @property
    def returncode(self) -> int | None:
        return None if self._popen is None else self._popen.poll()

    def send(self, number: int) -> None:
        assert self._popen is not None
        self._popen.send_signal(number)

    def wait(self) -> int:
        assert self._popen is not None
        return self._popen.wait(END_S)

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and return the exit status."""
        self.send(number)
        return self.wait()

    def discard(self) -> None:
        """Leave nothing running, however the test went."""
        if self._popen is None:
            return
        for each in [*self.children(), self._popen]:
            if isinstance(each, psutil.Process) and not each.is_running():
                continue
            each.kill()
        self._popen.wait(END_S)

    def children(self) -> list[psutil.Process]:
        if self.returncode is not None or self._popen is None:
            return []
        return psutil.Process(self.pid).children(recursive=True)


def running(process: psutil.Process) -> bool:
    """Whether a process still runs; one that has ended and was not waited for does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


class Server(Process):
    """``ostraka serve`` with its worker and private Redis, and a client that talks to it."""

    def __init__(self, folder: Path, *flags: str, environment: Mapping[str, str] | None = None) -> None:
        super().__init__(folder, "serve", "--port", "0", *flags, environment=environment)
        self.url = ""
        self.client = httpx.Client()

    def start(self) -> Self:
        self.spawn()
        self.url = self.event("listening")["url"]
        self.client.close()
        self.client = httpx.Client(base_url=self.url, timeout=60, limits=CONNECTIONS)
        eventually(self._ready, START_S)
        return self

    def _ready(self) -> bool:
        try:
            return self.client.get("/health/ready").status_code == 200
        except httpx.TransportError:
            return False

    @property
    def worker(self) -> psutil.Process:
        return eventually(lambda: self._child("worker"))

    @property
    def redis(self) -> psutil.Process:
        return eventually(lambda: self._child("--unixsocket"))

    @property
    def socket(self) -> Path:
        words = self.redis.cmdline()
        return Path(next(word for word in words if word.endswith(".sock") or "unixsocket:" in word).split(":")[-1])

    @contextmanager
    def maintenance_of(self, company: str) -> Iterator[Callable[[], None]]:
        """Yield what lets the worker do a round of maintenance now; its next one may be ten seconds away."""
        with create_celery(f"redis+socket://{self.socket}") as app:
            yield partial(publisher(app), MAINTAIN, company)

    def _child(self, word: str) -> psutil.Process | None:
        """The child whose command line holds the word, once it is no longer the leash before its exec."""
        for child in self.children():
            try:
                words = child.cmdline()
            except psutil.Error:
                continue
            if word == "worker" and word in words and "cli.leash" not in words:
                return child
            if word != "worker" and words and "redis-server" in words[0]:
                return child
        return None

    def stop(self) -> None:
        """Stop as Ctrl-C does, and see that nothing is left behind."""
        children, socket = self.children(), self.redis_socket()
        status = self.end(signal.SIGINT)
        self.client.close()
        assert status == 0, self.log.read_text()[-2000:]
        assert [child for child in children if child.is_running()] == []
        assert not socket.exists()
        assert cache_leftovers(self.data) == []

    def redis_socket(self) -> Path:
        return self.data.absolute() / "run" / "redis.sock"

    def kill(self) -> None:
        """kill -9 of the serve process alone; return once its children are gone too."""
        children = self.children()
        self.end(signal.SIGKILL)
        self.client.close()
        psutil.wait_procs(children, END_S)
        assert [child for child in children if running(child)] == []

    def discard(self) -> None:
        self.client.close()
        super().discard()


def private_environment(folder: Path) -> dict[str, str]:
    """Our variables without the developer's settings, and a configuration folder of the test's own."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("OSTRAKA_") or name == "OSTRAKA_MODELS_DIR"
    }
    return kept | {"XDG_CONFIG_HOME": str(folder / "config")}


def cache_mark(data: Path) -> str:
    """Return what tells the caches of data directories apart, in their names."""
    return hashlib.sha256(str(data.resolve()).encode()).hexdigest()[:16]


def cache_leftovers(data: Path) -> list[str]:
    """Return what a data directory still has in the host's cache, but for the empty lock; remove that if it is free."""
    found = list(Path("/dev/shm").glob(f"ostraka-*-{cache_mark(data)}*"))
    locks = [path for path in found if path.suffix == ".lock" and path.stat().st_size == 0]
    for lock in locks:
        with lock.open() as opened, suppress(BlockingIOError):  # a process that lives holds it
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            lock.unlink()
    return [str(path) for path in found if path not in locks]


def run_command(folder: Path, *arguments: str, environment: Mapping[str, str] | None = None) -> tuple[int, str, str]:
    """Run an ``ostraka`` command to its end on the folder's data; return its status and both outputs."""
    done = subprocess.run(
        [sys.executable, "-m", "cli.main", *arguments, "--data", str(folder / "data")],
        env=private_environment(folder) | dict(environment or {}),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=END_S,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr

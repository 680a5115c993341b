"""An API with no worker and no Redis: what is written stays pending, and nothing hurries a test."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Self

import httpx

from tests.integration.processes import Process, cache_leftovers


class LoneApi(Process):
    """``ostraka api`` on a data directory; several may share one."""

    def __init__(self, folder: Path, **environment: str) -> None:
        nowhere = {"OSTRAKA_QUEUE__REDIS_URL": f"redis+socket://{folder / 'nowhere.sock'}"}
        super().__init__(folder, "api", "--port", "0", environment=nowhere | environment)
        self.client = httpx.Client()

    def start(self) -> Self:
        url = self.spawn().event("listening")["url"]
        self.client.close()
        self.client = httpx.Client(base_url=url, timeout=60)
        return self

    def add(self, content: str = "A note.", namespace: str = "notes", key: str | None = None) -> httpx.Response:
        headers = {"Idempotency-Key": key} if key else {}
        return self.client.post("/v1/memory", json={"namespace": namespace, "content": content}, headers=headers)

    def load(self, contents: Iterable[str], namespace: str = "notes", key: str | None = None) -> httpx.Response:
        lines = "\n".join(json.dumps({"namespace": namespace, "content": content}) for content in contents)
        headers = {"content-type": "application/x-ndjson"} | ({"Idempotency-Key": key} if key else {})
        return self.client.post("/v1/memory/bulk", content=lines, headers=headers)

    def count(self, namespace: str = "notes") -> int:
        """How many memories the namespace holds; one that was never made holds none."""
        page = self.client.get("/v1/memory", params={"namespace": namespace, "limit": 500})
        return len(page.json()["memories"]) if page.status_code == 200 else -1

    def stop(self) -> None:
        self.client.close()
        assert self.end() == 0, self.log.read_text()[-2000:]

    def discard(self) -> None:
        self.client.close()
        super().discard()
        cache_leftovers(self.data)

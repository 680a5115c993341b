"""A real S3 server over HTTP: moto's, in a process of its own. It keeps everything in memory."""

import itertools
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import obstore
from obstore.store import from_url

_START_S = 60.0
_LISTENING = re.compile(r"Running on http://([0-9.:]+)")
_NAMES = itertools.count()


@dataclass
class ObjectStore:
    """A running server; ``address`` is its host and port."""

    address: str
    client: httpx.Client = field(default_factory=httpx.Client)

    def bucket(self) -> "Bucket":
        """Return a new, empty bucket."""
        made = Bucket(self, f"bucket-{next(_NAMES)}")
        assert self.client.put(f"{made.url}").status_code == 200
        return made


@dataclass
class Bucket:
    """A bucket, looked at past Ostraka."""

    store: ObjectStore
    name: str

    @property
    def url(self) -> str:
        return f"http://{self.store.address}/{self.name}"

    def settings(self, endpoint: str | None = None, **options: Any) -> dict[str, Any]:
        """Return what ``[storage]`` says to use it, through ``endpoint`` if one is named."""
        reached = {"endpoint": endpoint or f"http://{self.store.address}", "region": "us-east-1"}
        return {"blobs_url": f"s3://{self.name}/some/prefix", "blobs_options": reached | options}

    def keys(self) -> list[str]:
        """Return the names of all objects, without the prefix."""
        return [entry["path"] for page in obstore.list(self._opened()) for entry in page]

    def read(self, key: str) -> bytes:
        return bytes(obstore.get(self._opened(), key).bytes())

    def write(self, key: str, content: bytes) -> None:
        obstore.put(self._opened(), key, content)

    def remove(self, key: str) -> None:
        obstore.delete(self._opened(), key)

    def _opened(self) -> Any:
        keys = {"access_key_id": "tester", "secret_access_key": "not-a-secret"}
        settings = self.settings()
        reached = settings["blobs_options"] | keys
        return from_url(settings["blobs_url"], config=reached, client_options={"allow_http": True})

    def uploads(self) -> int:
        """Return how many uploads in parts were begun and neither joined nor given up."""
        return self.store.client.get(self.url, params={"uploads": ""}).text.count("<Upload>")


@contextmanager
def object_store() -> Iterator[ObjectStore]:
    """Run a server. It lists five objects at a time, so that whoever lists more must ask again."""
    with tempfile.NamedTemporaryFile() as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-p", "0"],
            env=os.environ | {"MOTO_S3_DEFAULT_MAX_KEYS": "5"},
            stdout=log,
            stderr=log,
        )
        try:
            store = ObjectStore(_address(process, Path(log.name)))
            yield store
            store.client.close()
        finally:
            process.kill()
            process.wait()


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    """Return host and port once the server says where it listens."""
    deadline = time.monotonic() + _START_S
    while not (found := _LISTENING.search(log.read_text(errors="replace"))):
        assert process.poll() is None, f"moto's server ended: {log.read_text()}"
        assert time.monotonic() < deadline, "moto's server does not start"
        time.sleep(0.02)
    return found[1]

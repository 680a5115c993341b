"""Callers that go on whatever happens to the server: they write, change, delete and read, and keep the ledger."""

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self

import httpx

from tests.fault.ledger import Ledger, Outcome

ANSWER_S = 120.0  # only a connection that died leaves a request unanswered
REPEAT_EVERY_S = 0.05


def text_of(name: str, version: int) -> str:
    """A text with a word that its memory keeps through all versions, and one of the version's own."""
    return f"Entry word{name}x was written as version{version}of{name}x."


class Caller:
    """One thread's share of the traffic."""

    def __init__(self, url: str, ledger: Ledger, seed: str, stopped: threading.Event, counts: "Counter[str]") -> None:
        self._client = httpx.Client(base_url=url, timeout=ANSWER_S)
        self._ledger = ledger
        self._rng = random.Random(seed)
        self._stopped = stopped
        self._counts = counts

    def run(self, steps: list[Callable[["Caller"], None]], pause_s: float) -> None:
        with self._client:
            while not self._stopped.is_set():
                self._rng.choice(steps)(self)
                self._stopped.wait(self._rng.uniform(0, 2 * pause_s))

    def add(self) -> None:
        [name] = self._ledger.open(1)
        body = {"namespace": self._ledger.namespace, "id": name, "content": text_of(name, 1)}
        if self._write([name], "/v1/memory", content=json.dumps(body)):
            self._ledger.keep([name])

    def add_many(self) -> None:
        names = self._ledger.open(self._rng.randint(2, 12))
        if self._write_many(names):
            self._ledger.keep(names)

    def delete_many(self) -> None:
        """Write memories of a session of their own, and delete the session."""
        names = self._ledger.open(self._rng.randint(2, 5))
        if self._write_many(names, session=names[0]):
            for name in names:
                self._ledger.attempt(name, None)
            scope = {"namespace": self._ledger.namespace, "session": names[0]}
            self._note(names, [None] * len(names), self._send("DELETE", "/v1/memory", params=scope))

    def change(self) -> None:
        with self._ledger.borrowed(self._rng) as name:
            if name is not None:
                entry = self._ledger.entries[name]
                text = text_of(name, entry.acknowledged + entry.unanswered + 1)
                self._ledger.attempt(name, text)
                self._note([name], [text], self._send("PATCH", f"/v1/memory/{name}", json={"content": text}))

    def delete(self) -> None:
        with self._ledger.borrowed(self._rng) as name:
            if name is not None:
                self._ledger.attempt(name, None)
                self._note([name], [None], self._send("DELETE", f"/v1/memory/{name}"))

    def read(self) -> None:
        """Read or search for a memory; an answer must be one of those that were possible while it was made."""
        for name in self._ledger.sample(self._rng, 1):
            entry = self._ledger.entries[name]
            mark = len(entry.states)
            seen = self._read(name) if self._rng.random() < 0.5 else self._search(name)
            wrong = [content for content in seen or [] if content not in entry.since(mark)]
            assert not wrong, f"{name}: read {wrong}, possible were {entry.since(mark)}"
            assert len(seen or []) <= 1, f"{name}: found more than once: {seen}"
            self._counts["reads"] += seen is not None

    def balance(self) -> None:
        """Ask for the metrics: whatever goes on, every row accepted is somewhere."""
        response = self._send("GET", "/metrics")
        if not _unsettled(response):
            assert set(imbalances(response.text)) == {0.0}

    def _read(self, name: str) -> list[Outcome] | None:
        response = self._send("GET", f"/v1/memory/{name}")
        if _unsettled(response):
            return None
        assert response.status_code in {200, 404}, f"{name}: GET answered {response.status_code}"
        return [response.json()["content"] if response.status_code == 200 else None]

    def _search(self, name: str) -> list[Outcome] | None:
        query = {"namespace": self._ledger.namespace, "query": f"word{name}x", "mode": "text"}
        response = self._send("POST", "/v1/memory/search", json=query)
        if _unsettled(response) or response.status_code == 404:  # nothing was ever written to the namespace
            return None
        assert response.status_code == 200, f"{name}: a search answered {response.status_code}"
        return [hit["content"] for hit in response.json()["results"]]

    def _write_many(self, names: list[str], **more: str) -> bool:
        space = self._ledger.namespace
        rows = [{"namespace": space, "id": name, "content": text_of(name, 1)} | more for name in names]
        return self._write(names, "/v1/memory/bulk", content="\n".join(map(json.dumps, rows)))

    def _write(self, names: list[str], path: str, content: str) -> bool:
        """Send memories; half of the time under an idempotency key, then until they are acknowledged.

        Say whether they were acknowledged.
        """
        texts: list[Outcome] = [text_of(name, 1) for name in names]
        for name, text in zip(names, texts, strict=True):
            self._ledger.attempt(name, text)
        headers = {"content-type": "application/x-ndjson" if path.endswith("bulk") else "application/json"}
        if self._rng.random() < 0.5:
            headers["idempotency-key"] = f"key-{names[0]}"
        response = self._send("POST", path, content=content, headers=headers)
        while "idempotency-key" in headers and _unsettled(response) and not self._stopped.wait(REPEAT_EVERY_S):
            self._counts["repeated"] += 1
            again = self._send("POST", path, content=content, headers=headers)
            response = again if again is not None and again.status_code != 429 else response
        self._note(names, texts, response)
        return response is not None and response.is_success

    def _note(self, names: list[str], outcomes: list[Outcome], response: httpx.Response | None) -> None:
        for name, outcome in zip(names, outcomes, strict=True):
            if response is not None and response.is_success:
                self._ledger.acknowledge(name, outcome)
            elif response is not None and response.status_code == 429:
                self._ledger.refuse(name)
            elif response is None or response.status_code == 503:
                self._ledger.doubt(name, outcome)
            else:
                raise AssertionError(f"{name}: {response.request.method} answered {response.status_code}")

    def _send(self, method: str, path: str, **request: Any) -> httpx.Response | None:
        """Send a request; ``None`` when the connection died before its answer."""
        if path.startswith("/v1/memory/") and not path.endswith(("bulk", "search")):
            request["params"] = {"namespace": self._ledger.namespace}
        try:
            response = self._client.request(method, path, **request)
        except httpx.TransportError:
            self._counts["unanswered"] += 1
            return None
        self._counts[str(response.status_code)] += 1
        return response


def imbalances(metrics: str) -> list[float]:
    """Return how many rows the server's own ledger misses, by namespace and in all."""
    return [float(line.split()[-1]) for line in metrics.splitlines() if line.startswith("ostraka_ledger_imbalance")]


def _unsettled(response: httpx.Response | None) -> bool:
    """Whether the server has not said what is."""
    return response is None or response.status_code in {429, 503}


class Traffic:
    """Callers of every kind on threads of their own, from entering to leaving."""

    def __init__(
        self,
        url: str,
        ledger: Ledger,
        seed: str,
        *,
        writers: int = 3,
        deleters: int = 1,
        readers: int = 2,
        pause_s: float = 0.1,
    ) -> None:
        self.ledger = ledger
        self.counts: Counter[str] = Counter()
        self._stopped = threading.Event()
        roles = [[Caller.add, Caller.add, Caller.add_many, Caller.change]] * writers
        roles += [[Caller.delete, Caller.delete, Caller.delete_many]] * deleters
        roles += [[Caller.read] * 20 + [Caller.balance]] * readers
        self._callers = [
            (Caller(url, ledger, f"{seed}-{number}", self._stopped, self.counts), steps)
            for number, steps in enumerate(roles)
        ]
        self._pause_s = pause_s
        self._pool = ThreadPoolExecutor(len(roles), thread_name_prefix="caller")
        self._running: list[Future[None]] = []

    def __enter__(self) -> Self:
        self._running = [self._pool.submit(caller.run, steps, self._pause_s) for caller, steps in self._callers]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._pool.shutdown()
        if error is None:
            for each in self._running:
                each.result()

    def run_for(self, seconds: float) -> None:
        """Let it go on for a while; fail as soon as one caller has seen something wrong."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.check()
            time.sleep(min(0.05, seconds))

    def check(self) -> None:
        for each in self._running:
            if each.done():
                each.result()

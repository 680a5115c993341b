"""Traffic: clients that ask as fast as they are answered, and bulk loads followed to their end."""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from benchmarks.texts import Text
from benchmarks.wire import Client, Reply

_LOOK_S: Final = 0.1  # between two looks at a job: seldom enough to cost the server nothing that shows
_LOAD_S: Final = 1_800.0  # a load that takes longer is stuck


@dataclass(frozen=True)
class Load:
    """Latencies of a phase, in order of completion, and how long it took in all."""

    latencies_ms: Sequence[float]
    elapsed_s: float

    @property
    def rate(self) -> float:
        """Requests per second."""
        return len(self.latencies_ms) / self.elapsed_s


async def closed_loop(
    client: Client,
    requests: Iterable[bytes],
    clients: int,
    on_reply: Callable[[Reply, float], None] | None = None,
) -> Load:
    """Send the requests over ``clients`` connections, each as soon as its last was answered."""
    connections = [await client.connect() for _ in range(clients)]
    waiting = iter(requests)
    latencies: list[float] = []

    async def ask(index: int) -> None:
        connection = connections[index]
        for request in waiting:  # shared: each request is sent once
            begun = time.perf_counter()
            reply = await connection.send(request)
            took_ms = (time.perf_counter() - begun) * 1e3
            latencies.append(took_ms)
            if on_reply is not None:
                on_reply(reply, took_ms)

    started = time.perf_counter()
    try:
        await asyncio.gather(*(ask(index) for index in range(clients)))
        elapsed_s = time.perf_counter() - started
    finally:
        for connection in connections:
            connection.close()
    return Load(latencies, elapsed_s)


def bulk_requests(client: Client, namespace: str, texts: Sequence[Text], per_call: int) -> list[bytes]:
    """Return the bulk calls that write the texts, built beforehand."""
    calls = []
    for start in range(0, len(texts), per_call):
        lines = b"\n".join(orjson.dumps(text.as_item(namespace)) for text in texts[start : start + per_call])
        calls.append(client.build("POST", "/v1/memory/bulk", lines, "application/x-ndjson"))
    return calls


async def load_bulk(client: Client, namespace: str, texts: Sequence[Text], per_call: int) -> float:
    """Write the texts, wait until every job is indexed, and return the seconds from the first byte to the last job."""
    requests = bulk_requests(client, namespace, texts, per_call)
    started = time.perf_counter()
    jobs = []
    for request in requests:
        accepted = await client.call_raw(request)
        if accepted["rejected"]:
            raise RuntimeError(f"the server rejected lines of a bulk call: {accepted['rejected'][:3]}")
        jobs.append(accepted["job_id"])
    for job in jobs:
        await wait_for_job(client, job)
    return time.perf_counter() - started


async def wait_for_job(client: Client, job_id: str) -> None:
    """Return once a job is indexed. Raises ``RuntimeError`` when memories of it failed, ``TimeoutError``."""
    deadline = time.monotonic() + _LOAD_S
    while time.monotonic() < deadline:
        job: dict[str, Any] = await client.call("GET", f"/v1/jobs/{job_id}")
        if job["failed"]:
            raise RuntimeError(f"memories failed: {job['errors']}")
        if job["state"] == "indexed":
            return
        await asyncio.sleep(_LOOK_S)
    raise TimeoutError(f"the job {job_id} was not indexed within {_LOAD_S:.0f} s")


async def wait_until_drained(
    client: Client, namespace: str, limit_s: float = _LOAD_S, meanwhile: Callable[[], object] = lambda: None
) -> None:
    """Return once every accepted memory of a namespace is searchable; ``meanwhile`` is called before each look."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        meanwhile()
        states = (await client.call("GET", f"/v1/namespaces/{namespace}"))["states"]
        if states.get("failed"):
            raise RuntimeError(f"{states['failed']} memories failed")
        if not states.get("pending") and not states.get("embedded"):
            return
        await asyncio.sleep(_LOOK_S)
    raise TimeoutError(f"{namespace} was not drained within {limit_s:.0f} s")

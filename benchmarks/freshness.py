"""Freshness: how long after it was sent a single memory is found by a search, alone and beside a backfill."""

import asyncio
import random
import time
from contextlib import suppress
from typing import Final

import orjson

from benchmarks.figures import Figure, latencies
from benchmarks.load import load_bulk, wait_until_drained
from benchmarks.plan import NAMESPACE, Plan
from benchmarks.texts import generate_texts
from benchmarks.wire import Client, Connection, ServerRefusedError

_POLL_S: Final = 0.005
_PAUSE_S: Final = 0.1
_FOUND_S: Final = 30.0
_BACKFILL: Final = "backfill"
_BACKFILL_TEXTS: Final = 6_000  # of one load; the next begins when it is indexed


async def measure_freshness(client: Client, memories: int, plan: Plan) -> list[Figure]:
    """Return the time from sending an add to finding it, by polling, and by asking the server to wait."""
    rng = random.Random(f"freshness {plan.seed}")
    texts = [text.content for text in generate_texts(plan.fresh_adds, plan.seed + 1)]
    connection = await client.connect()
    polled, waited = [], []
    try:
        await _add_and_wait(client, connection, texts[0])  # the worker of a server that has just started is up after it
        for content in texts:
            polled.append(await _add_and_poll(client, connection, content, f"zq{rng.getrandbits(64):x}"))
            await asyncio.sleep(_PAUSE_S)
        for content in texts[: len(texts) // 2]:
            waited.append(await _add_and_wait(client, connection, content))
            await asyncio.sleep(_PAUSE_S)
    finally:
        connection.close()
    await wait_until_drained(client, NAMESPACE)
    return [
        *latencies("freshness", "", polled, memories),
        *latencies("freshness", " with ?wait=true", waited, memories, (50, 99)),
    ]


async def measure_freshness_beside_backfill(client: Client, memories: int, plan: Plan) -> list[Figure]:
    """Return the time from sending an add to finding it while bulk loads of another namespace have the workers."""
    rng = random.Random(f"freshness beside a backfill {plan.seed}")
    texts = [text.content for text in generate_texts(plan.fresh_adds, plan.seed + 3)]
    connection = await client.connect()
    enough = asyncio.Event()
    backfill = asyncio.create_task(_backfill_until(client, plan, min(_BACKFILL_TEXTS, memories), enough))
    polled: list[float] = []
    try:
        await _wait_for_backlog(client)
        for content in texts:
            polled.append(await _add_and_poll(client, connection, content, f"zq{rng.getrandbits(64):x}"))
            await asyncio.sleep(_PAUSE_S)
        enough.set()
        rate = await backfill
    finally:
        connection.close()
        backfill.cancel()
        with suppress(asyncio.CancelledError):
            await backfill
    return [
        *latencies("freshness", ", during a backfill", polled, memories),
        Figure("freshness", "rate of that backfill", rate, "texts/s", memories),
    ]


async def _backfill_until(client: Client, plan: Plan, count: int, enough: asyncio.Event) -> float:
    """Load and load again until told that it is enough; return the texts indexed a second."""
    texts = generate_texts(count, plan.seed + 4)
    loads, elapsed_s = 0, 0.0
    while not enough.is_set():
        elapsed_s += await load_bulk(client, _BACKFILL, texts, plan.per_call)
        loads += 1
    return loads * count / elapsed_s


async def _wait_for_backlog(client: Client) -> None:
    """Return once the first rows of the load are on their way."""
    deadline = time.monotonic() + _FOUND_S
    while time.monotonic() < deadline:
        with suppress(ServerRefusedError):  # its first call has not made the namespace yet
            if (await client.call("GET", f"/v1/namespaces/{_BACKFILL}"))["states"].get("pending"):
                return
        await asyncio.sleep(_POLL_S)
    raise TimeoutError(f"the load did not begin within {_FOUND_S:.0f} s")


async def _add_and_poll(client: Client, connection: Connection, content: str, token: str) -> float:
    """Add a memory that carries a token of its own; return the milliseconds until a search brings it back."""
    item = {"namespace": NAMESPACE, "content": f"{content} The note is marked {token}."}
    asked = orjson.dumps({"namespace": NAMESPACE, "query": token, "mode": "text", "limit": 1})
    look = client.build("POST", "/v1/memory/search", asked)
    started = time.perf_counter()
    added = await connection.send(client.build("POST", "/v1/memory", orjson.dumps(item)))
    wanted = added.json()["id"]
    while time.perf_counter() - started < _FOUND_S:
        found = (await connection.send(look)).json()["results"]
        if any(result["id"] == wanted for result in found):
            return (time.perf_counter() - started) * 1e3
        await asyncio.sleep(_POLL_S)
    raise TimeoutError(f"a memory was not found within {_FOUND_S:.0f} s of its add")


async def _add_and_wait(client: Client, connection: Connection, content: str) -> float:
    body = orjson.dumps({"namespace": NAMESPACE, "content": content})
    started = time.perf_counter()
    added = await connection.send(client.build("POST", "/v1/memory?wait=true", body))
    if added.json()["state"] != "indexed":
        raise TimeoutError("a waited-for memory was not searchable in time")
    return (time.perf_counter() - started) * 1e3

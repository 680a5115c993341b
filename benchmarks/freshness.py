"""Freshness: how long after it was sent a single memory is found by a search, on an idle server."""

import asyncio
import random
import time
from typing import Final

import orjson

from benchmarks.figures import Figure, latencies
from benchmarks.load import wait_until_drained
from benchmarks.plan import NAMESPACE, Plan
from benchmarks.texts import generate_texts
from benchmarks.wire import Client, Connection

_POLL_S: Final = 0.005
_PAUSE_S: Final = 0.1
_FOUND_S: Final = 30.0


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

"""Single adds: their rate from many clients against that of an empty endpoint, and the latency of one client."""

from collections.abc import Sequence
from typing import Final

import orjson

from benchmarks.figures import Figure, latencies, repeated
from benchmarks.load import closed_loop, wait_until_drained
from benchmarks.plan import NAMESPACE, Plan
from benchmarks.searching import whoami
from benchmarks.summaries import bracketed_ratios
from benchmarks.texts import generate_texts
from benchmarks.wire import Client

CLIENTS: Final = 32
_ALONE: Final = 300


async def measure_adds(client: Client, memories: int, plan: Plan) -> list[Figure]:
    """Return rates and latencies of ``POST /v1/memory``; each answer means that the memory is durable."""
    texts = [text.content for text in generate_texts(plan.adds * plan.repeats + _ALONE, plan.seed + 2)]
    alone = await closed_loop(client, _adds(client, texts[: min(_ALONE, plan.adds)]), 1)
    await wait_until_drained(client, NAMESPACE)
    empty = [await _empty(client, plan)]
    rates = []
    crowd: list[float] = []
    for repeat in range(plan.repeats):
        begin = _ALONE + repeat * plan.adds
        load = await closed_loop(client, _adds(client, texts[begin : begin + plan.adds]), CLIENTS)
        rates.append(load.rate)
        crowd += load.latencies_ms
        await wait_until_drained(client, NAMESPACE)
        empty.append(await _empty(client, plan))
    label = f", {CLIENTS} clients"
    return [
        repeated("adds", f"adds{label}", rates, "adds/s", memories),
        repeated("adds", f"empty endpoint{label}", empty, "requests/s", memories),
        repeated("adds", f"adds ÷ empty endpoint{label}", bracketed_ratios(empty, rates), "", memories),
        *latencies("adds", label, crowd, memories, (50, 99)),
        *latencies("adds", ", 1 client", alone.latencies_ms, memories, (50, 99)),
    ]


def _adds(client: Client, contents: Sequence[str]) -> list[bytes]:
    """Return the requests, built beforehand."""
    return [
        client.build("POST", "/v1/memory", orjson.dumps({"namespace": NAMESPACE, "content": content}))
        for content in contents
    ]


async def _empty(client: Client, plan: Plan) -> float:
    return (await closed_loop(client, [whoami(client)] * plan.adds, CLIENTS)).rate

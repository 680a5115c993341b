"""Search over HTTP: latency and rate, where the time goes, and latency while a backfill has the cores."""

import asyncio
import itertools
from collections.abc import Iterator, Sequence
from contextlib import suppress
from statistics import median
from typing import Final

import orjson

from benchmarks.figures import Figure, latencies
from benchmarks.load import closed_loop, load_bulk
from benchmarks.plan import NAMESPACE, Plan
from benchmarks.texts import generate_texts
from benchmarks.wire import Client, Reply

CLIENTS: Final = (1, 8)
BACKFILL_TEXTS: Final = 6_000
_WARM_UP: Final = 100
_EXPLAINED: Final = 400


async def measure_search(client: Client, questions: Sequence[str], memories: int, plan: Plan) -> list[Figure]:
    """Return latencies, rates and parts of searching one namespace."""
    asked = _requests(client, questions)
    await closed_loop(client, itertools.islice(asked, _WARM_UP), 2)
    figures = []
    for clients in CLIENTS:
        label = f", {clients} client{'s' if clients > 1 else ''}"
        empty = await closed_loop(client, [whoami(client)] * plan.searches, clients)
        load = await closed_loop(client, itertools.islice(asked, plan.searches), clients)
        figures += latencies("search", label, load.latencies_ms, memories)
        figures.append(Figure("search", f"rate{label}", load.rate, "searches/s", memories, samples=plan.searches))
        figures += latencies("search", f" of an empty endpoint{label}", empty.latencies_ms, memories, (50,))
    return figures + await _measure_parts(client, questions, memories, plan)


def whoami(client: Client) -> bytes:
    """Return a request that does nothing but authenticate."""
    return client.build("GET", "/v1/whoami")


def search(client: Client, query: str, *, explain: bool = False) -> bytes:
    """Return a search request."""
    body: dict[str, object] = {"namespace": NAMESPACE, "query": query, "limit": 10}
    return client.build("POST", "/v1/memory/search", orjson.dumps(body | {"explain": True} if explain else body))


def _requests(client: Client, questions: Sequence[str]) -> Iterator[bytes]:
    return itertools.cycle([search(client, question) for question in questions])


async def _measure_parts(client: Client, questions: Sequence[str], memories: int, plan: Plan) -> list[Figure]:
    """Ask with ``explain``; return the medians of the parts, and the whole as a multiple of their sum."""
    parts: dict[str, list[float]] = {}
    whole: list[float] = []

    def keep(reply: Reply, took_ms: float) -> None:
        body = reply.json()
        for name, value in body["parts_ms"].items():
            parts.setdefault(name, []).append(value)
        parts.setdefault("http", []).append(took_ms - body["took_ms"])
        parts.setdefault("dispatch", []).append(body["took_ms"] - sum(body["parts_ms"].values()))
        whole.append(took_ms)

    count = min(_EXPLAINED, plan.searches)
    requests = (search(client, query, explain=True) for query in itertools.islice(itertools.cycle(questions), count))
    await closed_loop(client, requests, 1, keep)
    figures = [
        Figure("search", f"part: {name}", median(values), "ms", memories, samples=len(values))
        for name, values in parts.items()
    ]
    bare = sum(median(values) for name, values in parts.items() if name not in {"http", "dispatch"})
    figures.append(Figure("search", "p50 ÷ bare sum of the parts", median(whole) / bare, "", memories, samples=count))
    return figures


async def measure_beside_backfill(client: Client, questions: Sequence[str], memories: int, plan: Plan) -> list[Figure]:
    """Search with one client for as long as a backfill of another namespace lasts."""
    count = min(BACKFILL_TEXTS, max(memories, plan.per_call))
    texts = generate_texts(count, plan.seed + memories)
    backfill = asyncio.create_task(load_bulk(client, "backfill", texts, plan.per_call))
    requests = itertools.takewhile(lambda _: not backfill.done(), _requests(client, questions))
    try:
        load = await closed_loop(client, requests, 1)
        elapsed_s = await backfill
    finally:
        backfill.cancel()
        with suppress(asyncio.CancelledError):
            await backfill
    label = ", 1 client, during a backfill"
    return [
        *latencies("search", label, load.latencies_ms, memories),
        Figure("search", "rate of that backfill", count / elapsed_s, "texts/s", memories),
    ]

"""A backfill watched: how its rate and the worker's memory go over time."""

import asyncio
import itertools
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress

from benchmarks.figures import Figure
from benchmarks.footprint import worker_rss_mb
from benchmarks.load import load_bulk
from benchmarks.plan import NAMESPACE, Plan
from benchmarks.server import Server
from benchmarks.summaries import thirds
from benchmarks.texts import Text
from benchmarks.wire import Client, ServerRefusedError

Sample = Mapping[str, float]
_LOOK_S = 1.0


async def watched_backfill(
    server: Server, client: Client, texts: Sequence[Text], plan: Plan
) -> tuple[list[Figure], list[Sample]]:
    """Load the texts; return the figures and the series of samples, about one a second."""
    samples: list[Sample] = []
    watcher = asyncio.create_task(_watch(server, client, samples))
    try:
        elapsed_s = await load_bulk(client, NAMESPACE, texts, plan.per_call)
    finally:
        watcher.cancel()
        with suppress(asyncio.CancelledError):
            await watcher
    return [_rate(len(texts), elapsed_s), *_figures(samples, len(texts))], samples


def rates(samples: Sequence[Sample]) -> list[float]:
    """Return the memories embedded a second between each two samples."""
    return [
        (after["embedded"] - before["embedded"]) / (after["at_s"] - before["at_s"])
        for before, after in itertools.pairwise(samples)
    ]


def _rate(memories: int, elapsed_s: float) -> Figure:
    return Figure("backfill", "rate", memories / elapsed_s, "texts/s", memories)


def _figures(samples: Sequence[Sample], memories: int) -> list[Figure]:
    """Return how rate and memory went; none for a load too short to tell."""
    if len(samples) < 6:
        return []
    rss = [sample["worker_rss_mb"] for sample in samples]
    begin, middle, end = thirds(rss)
    early, midway, late = thirds(rates(samples))
    return [
        Figure("backfill", "rate, first third", early, "texts/s", memories),
        Figure("backfill", "rate, middle third", midway, "texts/s", memories),
        Figure("backfill", "rate, last third", late, "texts/s", memories),
        Figure("backfill", "worker RSS, first third", begin, "MB", memories),
        Figure("backfill", "worker RSS, middle third", middle, "MB", memories),
        Figure("backfill", "worker RSS, last third", end, "MB", memories),
        Figure("backfill", "worker RSS, peak", max(rss), "MB", memories, samples=len(rss)),
        Figure("backfill", "worker RSS, end ÷ middle", end / middle, "", memories),
    ]


async def _watch(server: Server, client: Client, samples: list[Sample]) -> None:
    """Sample until cancelled."""
    started = time.perf_counter()
    while True:
        await asyncio.sleep(_LOOK_S)
        try:
            states = (await client.call("GET", f"/v1/namespaces/{NAMESPACE}"))["states"]
        except ServerRefusedError:  # the first call has not made the namespace yet
            continue
        samples.append(
            {
                "at_s": time.perf_counter() - started,
                "embedded": states.get("embedded", 0) + states.get("indexed", 0),
                "indexed": states.get("indexed", 0),
                "worker_rss_mb": worker_rss_mb(server),
            }
        )

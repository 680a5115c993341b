"""The ladder of sizes: one server for each, filled once, on which everything that depends on size is measured."""

from collections.abc import Callable

import uvloop

from benchmarks.adding import measure_adds
from benchmarks.backfill import watched_backfill
from benchmarks.datasets import Corpus
from benchmarks.figures import Figure, Results
from benchmarks.footprint import cpu_figures, disk_figures, memory_figures
from benchmarks.freshness import measure_freshness, measure_freshness_beside_backfill
from benchmarks.ingest import WARM_UP_TEXTS
from benchmarks.load import load_bulk
from benchmarks.opening import measure_opening
from benchmarks.plan import WARM_UP, Plan
from benchmarks.searching import measure_beside_backfill, measure_search
from benchmarks.server import Server, serving
from benchmarks.texts import generate_texts
from benchmarks.wire import Client

Tell = Callable[[str], None]


def climb(plan: Plan, corpus: Corpus, results: Results, tell: Tell) -> list[Figure]:
    """Measure each size; adds and freshness, which change the namespace, last and on the largest only."""
    figures = []
    for memories in sorted(plan.sizes):
        with serving(plan.work / f"size-{memories}", plan.new_store()) as (server, client):
            tell(f"{memories:,} memories: loading")
            uvloop.run(load_bulk(client, WARM_UP, generate_texts(WARM_UP_TEXTS, plan.seed), WARM_UP_TEXTS))
            watched, samples = uvloop.run(watched_backfill(server, client, corpus.texts[:memories], plan))
            results.series[f"backfill of {memories}"] = samples
            if not server.settle():
                tell("the worker did not come to rest: figures of this size are of a busy server")
            figures += (
                watched + cpu_figures(server, memories) + _measure_size(server, client, memories, plan, corpus, tell)
            )
    return figures


def _measure_size(
    server: Server, client: Client, memories: int, plan: Plan, corpus: Corpus, tell: Tell
) -> list[Figure]:
    figures = []
    if plan.wants("search"):
        figures += disk_figures(server, memories)  # before the backfill of another namespace adds to it
        tell(f"{memories:,} memories: searching")
        figures += uvloop.run(measure_search(client, corpus.questions, memories, plan))
        figures += memory_figures(server, memories)
        figures += uvloop.run(measure_beside_backfill(client, corpus.questions, memories, plan))
        server.settle()
    if plan.wants("opening"):
        tell(f"{memories:,} memories: opening")
        opened, client = measure_opening(server, corpus.questions[0], memories, plan)
        figures += opened
    if plan.wants("freshness") and memories == max(plan.sizes):
        tell(f"{memories:,} memories: freshness")
        figures += uvloop.run(measure_freshness(client, memories, plan))
        figures += uvloop.run(measure_freshness_beside_backfill(client, memories, plan))
    if plan.wants("adds") and memories == max(plan.sizes):
        tell(f"{memories:,} memories: single adds")
        figures += uvloop.run(measure_adds(client, memories, plan))
    return figures

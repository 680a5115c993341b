"""One worker against two on the same load: what a core of a worker embeds and indexes, turn by turn."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import uvloop

from benchmarks.datasets import Corpus
from benchmarks.figures import Figure, repeated
from benchmarks.footprint import cpu_s
from benchmarks.ingest import WARM_UP_TEXTS
from benchmarks.load import load_bulk
from benchmarks.plan import NAMESPACE, WARM_UP, Plan
from benchmarks.server import Server, serving
from benchmarks.summaries import bracketed_ratios
from benchmarks.texts import generate_texts
from benchmarks.wire import Client

_READY_S = 60.0


def measure_workers(plan: Plan, corpus: Corpus) -> list[Figure]:
    """Return the texts that a second of the workers' processor time brings, with one and with two, and the ratio."""
    texts = len(corpus.texts[: plan.ingest_texts])
    one, two = [_load(plan, corpus, 1, 0)], []
    for repeat in range(plan.repeats):
        two.append(_load(plan, corpus, 2, repeat))
        one.append(_load(plan, corpus, 1, repeat + 1))
    per_core_one, per_core_two = [each[0] for each in one], [each[0] for each in two]
    return [
        repeated("workers", "a core of one worker", per_core_one, "texts/s", texts),
        repeated("workers", "a core of two workers", per_core_two, "texts/s", texts),
        repeated("workers", "two workers ÷ one, per core", bracketed_ratios(per_core_one, per_core_two), "", texts),
        repeated("workers", "one worker", [each[1] for each in one], "texts/s", texts),
        repeated("workers", "two workers", [each[1] for each in two], "texts/s", texts),
    ]


def _load(plan: Plan, corpus: Corpus, count: int, repeat: int) -> tuple[float, float]:
    """Return texts a second of the workers' processor time, and of the clock."""
    texts = corpus.texts[: plan.ingest_texts]
    with (
        serving(plan.work / f"workers-{count}-{repeat}", plan.new_store()) as (server, client),
        _workers(server, client, plan, count) as workers,
    ):
        before_s = sum(map(cpu_s, workers))
        elapsed_s = uvloop.run(load_bulk(client, NAMESPACE, texts, plan.per_call))
        spent_s = sum(map(cpu_s, workers)) - before_s
    return len(texts) / spent_s, len(texts) / elapsed_s


@contextmanager
def _workers(server: Server, client: Client, plan: Plan, count: int) -> Iterator[list[psutil.Process]]:
    """Yield the server's own worker and others beside it on the same Redis, all of them at work."""
    own = server.processes()["worker"]
    environment = {**own.environ(), **server.environment}
    with server.log.open("ab") as log:
        others = [
            subprocess.Popen(own.cmdline(), cwd=server.folder, env=environment, stdout=log, stderr=log)
            for _ in range(count - 1)
        ]
    try:
        workers = [own, *(psutil.Process(other.pid) for other in others)]
        idle_s = [cpu_s(worker) for worker in workers]
        # Until each has loaded its model and taken part in something.
        for _ in range(10):
            uvloop.run(load_bulk(client, WARM_UP, generate_texts(WARM_UP_TEXTS, plan.seed), WARM_UP_TEXTS // 10))
            if all(cpu_s(worker) - idle > 1.0 for worker, idle in zip(workers, idle_s, strict=True)):
                break
        else:
            raise RuntimeError("a worker took no part in the load")
        yield workers
    finally:
        for other in others:
            other.terminate()
            other.wait(_READY_S)

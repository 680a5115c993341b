"""A large namespace: ``ostraka backfill`` of a Parquet file whose memories bring their vectors, then searches of it."""

import itertools
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import uvloop

from benchmarks.datasets import Corpus
from benchmarks.figures import Figure, Results
from benchmarks.footprint import MB, cpu_figures, disk_figures, memory_figures
from benchmarks.load import wait_until_drained
from benchmarks.plan import NAMESPACE, Plan
from benchmarks.searching import measure_search
from benchmarks.server import Server, serving
from benchmarks.texts import generate_texts, stream_texts
from benchmarks.wire import Client
from core.embedding.opening import open_embedder
from core.settings import load_settings

_BASES: Final = 4_096
_SCATTER: Final = 0.35  # of a vector's length: a cosine of about .94 with the one it is scattered around
_FILE_ROWS: Final = 20_000  # of a row group
_LOOK_S: Final = 1.0
_DRAIN_S: Final = 7_200.0
_MERGE_S: Final = 3_600.0
_CALM_S: Final = 25  # longer than maintenance sleeps between two looks

Sample = Mapping[str, float]
Tell = Callable[[str], None]


def measure_vectors(plan: Plan, corpus: Corpus, results: Results, tell: Tell) -> list[Figure]:
    """Fill a namespace of the largest size; return rates, memory, bytes and latencies."""
    memories = max(plan.sizes)
    with serving(plan.work / "vectors", plan.new_store()) as (server, client):
        file = plan.work / "vectors.parquet"
        about = uvloop.run(client.call("PUT", f"/v1/namespaces/{NAMESPACE}", {}))["embedding"]
        tell(f"{memories:,} memories with vectors: writing the file")
        _write_file(file, memories, plan.seed)
        tell(f"{memories:,} memories with vectors: loading")
        figures, samples = _fill(server, client, file, memories, about["fingerprint"])
        results.series[f"backfill of {memories} with vectors"] = samples
        file.unlink()
        tell(f"{memories:,} memories with vectors: merging")
        began = time.perf_counter()
        if not server.settle(_MERGE_S, _CALM_S):
            tell("the worker did not come to rest: figures of this size are of a busy server")
        figures.append(Figure("vectors", "merged after", time.perf_counter() - began - _CALM_S, "s", memories))
        figures += [*cpu_figures(server, memories), *disk_figures(server, memories)]
        tell(f"{memories:,} memories with vectors: searching")
        figures += uvloop.run(measure_search(client, corpus.questions, memories, plan))
        figures += memory_figures(server, memories)
        return [replace(figure, part="vectors") for figure in figures]


def _fill(
    server: Server, client: Client, file: Path, memories: int, fingerprint: str
) -> tuple[list[Figure], list[Sample]]:
    """Run the backfill, wait until everything is searchable, and watch the memory of all processes meanwhile."""
    command = [sys.executable, "-m", "cli.main", "backfill", str(file), "--namespace", NAMESPACE, "--url", client.url]
    command += ["--fingerprint", fingerprint, "--journal", str(file.with_suffix(".journal"))]
    environment = server.environment | {"OSTRAKA_API_KEY": client.key}
    samples: list[Sample] = []
    started = time.perf_counter()
    with subprocess.Popen(command, cwd=file.parent, env=environment, stdout=subprocess.DEVNULL) as loading:
        process = psutil.Process(loading.pid)
        while loading.poll() is None:
            samples.append({"client": process.memory_info().rss / MB, **_resident_mb(server)})
            time.sleep(_LOOK_S)
    if loading.returncode:
        raise RuntimeError(f"the backfill ended with status {loading.returncode}")
    sent_s = time.perf_counter() - started
    uvloop.run(wait_until_drained(client, NAMESPACE, _DRAIN_S, lambda: samples.append(_resident_mb(server))))
    searchable_s = time.perf_counter() - started
    peaks = {role: max(sample.get(role, 0.0) for sample in samples) for role in samples[0]}
    together = max(sum(value for role, value in sample.items() if role != "client") for sample in samples)
    return [
        Figure("vectors", "accepted", memories / sent_s, "memories/s", memories),
        Figure("vectors", "searchable", memories / searchable_s, "memories/s", memories),
        Figure("vectors", "peak RSS of all processes", together, "MB", memories, samples=len(samples)),
        *(Figure("vectors", f"peak RSS of {role}", peak, "MB", memories) for role, peak in peaks.items()),
    ], samples


def _resident_mb(server: Server) -> dict[str, float]:
    return {role: process.memory_info().rss / MB for role, process in server.processes().items()}


def _write_file(file: Path, memories: int, seed: int) -> None:
    """Write generated texts, and vectors that are scattered around those of some of them."""
    vectors = _scattered(_embed_bases(seed), seed)
    texts = stream_texts(seed)
    schema = None
    writer: pq.ParquetWriter | None = None
    try:
        for start in range(0, memories, _FILE_ROWS):
            rows = list(itertools.islice(texts, min(_FILE_ROWS, memories - start)))
            block = np.concatenate(list(itertools.islice(vectors, len(rows))))
            table = pa.table(
                {
                    "content": [text.content for text in rows],
                    "session": [text.session for text in rows],
                    "occurred_at": [text.occurred_at for text in rows],
                    "vector": pa.FixedSizeListArray.from_arrays(block.ravel(), block.shape[1]),
                },
                schema=schema,
            )
            schema = table.schema
            writer = writer or pq.ParquetWriter(file, schema)
            writer.write_table(table)
    finally:
        if writer is not None:
            writer.close()


def _embed_bases(seed: int) -> npt.NDArray[np.float32]:
    embedder = open_embedder(load_settings(), "cpu")
    try:
        found = embedder.embed_passages([text.embedded for text in generate_texts(_BASES, seed)])
    finally:
        embedder.close()
    return np.stack([windows[0] for windows in found])


def _scattered(bases: npt.NDArray[np.float32], seed: int) -> Iterator[npt.NDArray[np.float32]]:
    """Yield float32[1, dim] without end, each around the next base."""
    rng = np.random.default_rng(seed)
    while True:
        noise = rng.standard_normal(bases.shape, np.float32)
        noise *= _SCATTER / np.linalg.norm(noise, axis=1, keepdims=True)
        mixed = bases + noise
        yield from (mixed / np.linalg.norm(mixed, axis=1, keepdims=True))[:, None, :]

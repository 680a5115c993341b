"""``python -m benchmarks``: measure, print a table, write results.json."""

import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from benchmarks.datasets import SETS, available_sets, make_corpus
from benchmarks.figures import Figure, Results
from benchmarks.ingest import measure_ingest
from benchmarks.ladder import climb
from benchmarks.machine import describe_machine, describe_versions
from benchmarks.plan import LONGER, PARTS, STORES, Plan
from benchmarks.quality import measure_quality
from benchmarks.report import print_table, write_json
from benchmarks.server import ROOT
from benchmarks.vectors import measure_vectors
from benchmarks.workers import measure_workers
from core.settings import ENV_DATABASE_URL
from core.shards.cache import in_memory

_OUT = ROOT / "benchmarks" / "results.json"
_DISK = Path("/var/tmp")
app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)


@app.command()
def measure(
    full: Annotated[bool, typer.Option("--full", help="Sizes to 100,000 and three repeats: some 15 minutes.")] = False,
    only: Annotated[
        str, typer.Option(help=f"Parts, comma-separated: {', '.join(PARTS)}; and {', '.join(LONGER)}.")
    ] = ",".join(PARTS),
    sizes: Annotated[str | None, typer.Option(help="Memories in a namespace, comma-separated.")] = None,
    ingest: Annotated[int, typer.Option(help="Texts of the ingest comparison.", min=10)] = 10_000,
    repeats: Annotated[int | None, typer.Option(help="Repeats of what is repeated.", min=1, max=20)] = None,
    searches: Annotated[int, typer.Option(help="Searches of each phase.", min=10)] = 1_000,
    adds: Annotated[int, typer.Option(help="Single adds of each phase.", min=10)] = 2_000,
    fresh: Annotated[int, typer.Option(help="Adds whose way to a search is timed.", min=2)] = 100,
    per_call: Annotated[int, typer.Option(help="Memories in one bulk call.", min=1, max=10_000)] = 2_000,
    data: Annotated[
        Path | None,
        typer.Option(envvar="BENCH_DATA", help="Folder of collections, for real texts and quality."),
    ] = None,
    sets: Annotated[str, typer.Option(help="Collections, comma-separated.")] = ",".join(SETS),
    blobs: Annotated[
        Literal["local", "s3"], typer.Option(help="s3: warm searches of an S3 server against local ones, too.")
    ] = "local",
    seed: Annotated[int, typer.Option(help="Seed of the generated texts.")] = 20_261_122,
    store: Annotated[str, typer.Option(help=f"Where the records lie: {' or '.join(STORES)}.")] = STORES[0],
    work: Annotated[Path | None, typer.Option(help="Folder on a real disk for the servers' data.")] = None,
    out: Annotated[Path, typer.Option(help="Where the results go.")] = _OUT,
) -> None:
    """Measure Ostraka in real processes on this machine."""
    if unknown := set(only.split(",")) - {*PARTS, *LONGER}:
        raise typer.BadParameter(f"--only: {', '.join(sorted(unknown))}: choose from {', '.join([*PARTS, *LONGER])}")
    if store not in STORES:
        raise typer.BadParameter(f"--store: {store}: choose from {', '.join(STORES)}")
    folder = Path(tempfile.mkdtemp(prefix="ostraka-bench-", dir=_disk_folder(work)))
    given = sizes or ("1000,10000,100000" if full else "1000,10000")
    plan = Plan(
        parts=frozenset(only.split(",")),
        sizes=sorted({int(size) for size in given.split(",")}),
        ingest_texts=ingest,
        repeats=repeats or (3 if full else 2),
        searches=searches,
        adds=adds,
        fresh_adds=fresh,
        per_call=per_call,
        seed=seed,
        data=data.resolve() if data else None,
        sets=sets.split(","),
        work=folder,
        objects=blobs == "s3",
    )
    results = Results()
    described = {"store": store, **_describe(plan)}
    try:
        with _record_stores(store, folder) as new_store:
            _run(replace(plan, new_store=new_store), results)
    finally:  # a part that fails does not take the figures of the others with it
        shutil.rmtree(folder, ignore_errors=True)
        write_json(out, results, described)
        print_table(results)
    print(f"written: {out}")


def _describe(plan: Plan) -> dict[str, Any]:
    """Return what the figures depend on."""
    return {
        "machine": describe_machine(plan.work),
        "versions": describe_versions(),
        "seed": plan.seed,
        "parameters": {
            "parts": sorted(plan.parts),
            "sizes": plan.sizes,
            "ingest_texts": plan.ingest_texts,
            "repeats": plan.repeats,
            "searches": plan.searches,
            "adds": plan.adds,
            "fresh_adds": plan.fresh_adds,
            "per_call": plan.per_call,
            "objects": plan.objects,
            "collections": plan.data is not None,
        },
    }


@contextmanager
def _record_stores(store: str, folder: Path) -> Iterator[Callable[[], Mapping[str, str]]]:
    """Yield what makes an empty record store and names it in variables: a database of the run's own server, or none."""
    if store == "sqlite":
        yield dict
        return
    from tests.postgres_server import PostgresServer  # noqa: PLC0415 - its packages are the developer's

    server = PostgresServer(durable=True, within=folder)
    try:
        yield lambda: {ENV_DATABASE_URL: server.own_database()}
    finally:
        server.discard()


def _run(plan: Plan, results: Results) -> None:
    """Run every part that was asked for; each leaves its figures in the results."""
    ladder = plan.wants("search", "opening", "freshness", "adds")
    needed = max(plan.ingest_texts, *(plan.sizes if ladder or plan.objects else [0]))
    corpus = make_corpus(needed, plan.seed, plan.data)
    results.texts = corpus.origin
    if plan.wants("ingest"):
        _timed(results, "ingest", partial(measure_ingest, plan, corpus))
    if ladder:
        _timed(results, "sizes", partial(climb, plan, corpus, results, _tell))
    if plan.wants("workers"):
        _timed(results, "workers", partial(measure_workers, plan, corpus))
    if plan.wants("vectors"):
        _timed(results, "vectors", partial(measure_vectors, plan, corpus, results, _tell))
    if plan.objects:
        from benchmarks.objects import measure_objects  # noqa: PLC0415 - its S3 server is a dependency of tests

        _timed(results, "blobs", partial(measure_objects, plan, corpus))
    if plan.wants("quality") and plan.data is not None:
        for name in [name for name in available_sets(plan.data) if name in plan.sets]:
            _timed(results, f"quality {name}", partial(measure_quality, plan, plan.data, name))


def _timed(results: Results, section: str, work: Callable[[], Sequence[Figure]]) -> None:
    _tell(section)
    started = time.perf_counter()
    results.figures += work()
    results.sections_s[section] = time.perf_counter() - started


def _disk_folder(wanted: Path | None) -> Path:
    """Return a folder on a disk: figures of a tmpfs would leave the fsyncs out."""
    folder = wanted or Path(tempfile.gettempdir())
    if not in_memory(folder):
        return folder
    if wanted is None and _DISK.is_dir() and not in_memory(_DISK):
        return _DISK
    raise typer.BadParameter(f"--work: {folder} lies in memory; name a folder on a disk")


def _tell(line: str) -> None:
    print(f"bench: {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    app()

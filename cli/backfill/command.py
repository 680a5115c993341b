"""``ostraka backfill``: rows of files become memories, through the REST API of a server near or far.

Through the API, and not into the store as ``import`` does: it works from any machine, the key bounds it, the server's
admission slows it down, and each call with its idempotency key is one write however often it is sent.
"""

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TextIO

import typer

from cli.options import checked_namespace
from core.errors import ConfigurationError

if TYPE_CHECKING:
    from cli.backfill.run import Options, Run

_STOPPED = 130  # as a shell says of Ctrl-C


def backfill(
    source: Annotated[Path, typer.Argument(help="A file, a directory of files, or - for standard input.")],
    namespace: Annotated[str, typer.Option(help="Where to write; made if it is not there.")],
    url: Annotated[str, typer.Option(help="The server.")] = "http://127.0.0.1:3300",
    key_file: Annotated[
        Path | None, typer.Option(help="File with the API key. Default: the variable OSTRAKA_API_KEY, if it is set.")
    ] = None,
    format_: Annotated[
        Literal["jsonl", "csv", "tsv", "parquet"] | None, typer.Option("--format", help="Default: by the file's name.")
    ] = None,
    map_: Annotated[
        list[str] | None, typer.Option("--map", help="FIELD=COLUMN, such as content=body; as often as needed.")
    ] = None,
    metadata: Annotated[str, typer.Option(help="Columns that become metadata: A,B; * is every other.")] = "",
    skip: Annotated[str, typer.Option(help="Columns to leave out: A,B; * is every other.")] = "",
    delimiter: Annotated[str | None, typer.Option(help="Of CSV. Default: a comma; of TSV, a tab.")] = None,
    fingerprint: Annotated[str | None, typer.Option(help="What made the vectors of the column `vector`.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Read and check everything, ask no server, write nothing.")
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first row that is wrong.")] = False,
    report: Annotated[Path | None, typer.Option(help="File for every rejected row: where and why, no content.")] = None,
    run: Annotated[str, typer.Option(help="Name of the run; under another, the same rows are written again.")] = "",
    journal: Annotated[Path | None, typer.Option(help="File of answered calls. Default: in your state folder.")] = None,
    in_flight: Annotated[int, typer.Option(help="Calls on their way at a time.", min=1, max=32)] = 4,
    patience_s: Annotated[float, typer.Option(help="Seconds that the server may not answer at all.", min=0)] = 600.0,
) -> None:
    """Write the rows of files as memories. Rows that are wrong are told and passed over.

    Cut off at any point, the same command goes on where it was, and writes nothing twice. Status 1: some rows were
    rejected; 2: it could not end.
    """
    from cli.backfill.mapping import read_routes  # noqa: PLC0415 - other commands need none of it
    from cli.backfill.run import Options  # noqa: PLC0415
    from cli.backfill.sources import find_sources  # noqa: PLC0415

    if delimiter is not None and len(delimiter) != 1:
        raise ConfigurationError("--delimiter: must be one character")
    sources, others = find_sources(source, format_)
    if others:
        typer.echo(f"{others} files are left out: their names end otherwise; see --format", err=True)
    options = Options(
        sources=sources,
        routes=read_routes(map_ or [], metadata, skip, fingerprint),
        namespace=checked_namespace(namespace),
        url=url,
        key_file=key_file,
        delimiter=delimiter,
        dry=dry_run,
        strict=strict,
        name=run,
        journal=journal,
        in_flight=in_flight,
        patience_s=patience_s,
    )
    raise typer.Exit(_perform(options, report))


def _perform(options: "Options", report: Path | None) -> int:
    """Run it, show how it goes and what came of it; return the exit status."""
    from ostraka import OstrakaError  # noqa: PLC0415
    from rich.console import Console  # noqa: PLC0415

    from cli.backfill.run import Run  # noqa: PLC0415
    from cli.backfill.tally import Tally  # noqa: PLC0415

    started = time.monotonic()
    with ExitStack() as stack:
        tally = Tally(stack.enter_context(_opened(report)), strict=options.strict)
        run = Run(options, tally)
        status = 2
        try:
            with _shown(run):
                status = run.perform()
        except OstrakaError as error:
            typer.secho(f"ostraka: {error.detail}; then run the same command again: it goes on", err=True, fg="red")
        except KeyboardInterrupt:
            typer.echo("stopped; the same command goes on from here", err=True)
            status = _STOPPED
        tally.show(Console(), time.monotonic() - started, dry=options.dry)
    return status


@contextmanager
def _opened(report: Path | None) -> Iterator[TextIO | None]:
    if report is None:
        yield None
        return
    try:
        file = os.fdopen(os.open(report, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w")
    except OSError as error:
        raise ConfigurationError(f"--report: {report} cannot be written: {error.strerror}; name another") from None
    with file:
        yield file


@contextmanager
def _shown(run: "Run") -> Iterator[None]:
    """Show on a terminal how it goes: rate, what is left, what failed."""
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    console = Console(stderr=True)
    columns = (BarColumn(), TaskProgressColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=1.0 if run.progress.total else None)
        started = time.monotonic()

        def update() -> None:
            tally, share = run.tally, run.progress.share
            rate = tally.good / max(time.monotonic() - started, 1e-9)
            said = f"{tally.good:,} rows, {rate:,.0f}/s, {tally.rejected:,} rejected"
            bar.update(task, description=said + (", the server is full: waiting" if run.full else ""))
            if share is not None:
                bar.update(task, completed=share)

        run.watch = update
        yield

"""``ostraka failures``: memories that failed, to be looked at, tried again, or discarded."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cli.auditing import recorded
from cli.options import Config, Data, control_of
from core.errors import InvalidInput

if TYPE_CHECKING:
    from core.records.company import CompanyRecords
    from core.records.failures import Failure

app = typer.Typer(help="List, retry and discard memories that failed.", no_args_is_help=True)

_WIDTH_IN_PIPES: Final = 400  # no terminal folds the ids there, so neither do we

Company = Annotated[str, typer.Option(help="Whose memories.")]
Namespace = Annotated[str, typer.Option(help="Whose memories; needed, so that nothing else is touched.")]
Ids = Annotated[list[str] | None, typer.Option("--id", help="A memory by its id; repeat for more.")]
Rows = Annotated[list[str] | None, typer.Option("--row", help="A version by its row (m_…); repeat for more.")]
Everything = Annotated[bool, typer.Option("--all", help="Everything that failed in the namespace.")]


@app.command("list")
def list_failed(
    company: Company = "default",
    namespace: Annotated[str | None, typer.Option(help="Only this namespace.")] = None,
    limit: Annotated[int, typer.Option(help="At most so many, oldest first.", min=1)] = 100,
    config: Config = None,
    data: Data = None,
) -> None:
    """List the memories that failed, and why."""
    from core.records.failures import list_failures  # noqa: PLC0415 - other commands need no index

    with _records_of(company, config, data) as records:
        opened = None if namespace is None else records.namespace(namespace)
        page, more = list_failures(records, namespace_ids=None if opened is None else [opened.id], after=0, limit=limit)
    table = Table("row", "memory", "job", "namespace", "error", "attempts", "accepted (UTC)")
    for failure in page:
        table.add_row(*_cells(failure))
    console = Console() if Console().is_terminal else Console(width=_WIDTH_IN_PIPES)
    console.print(table if page else "nothing has failed")
    if more is not None:
        console.print(f"… and perhaps more: --limit {2 * limit}")


@app.command()
def retry(
    namespace: Namespace,
    company: Company = "default",
    ids: Ids = None,
    rows: Rows = None,
    everything: Everything = False,
    config: Config = None,
    data: Data = None,
) -> None:
    """Send failed memories through the pipeline again; a worker takes them up within seconds."""
    from core.records.failures import find_failed  # noqa: PLC0415 - as above
    from core.records.retries import retry_rows  # noqa: PLC0415

    named = _row_ids(ids, rows, everything=everything)
    with _changed_records("failure.retry", company, config, data) as records:
        retried = retry_rows(records, find_failed(records, records.namespace(namespace), ids or None, named))
    typer.echo(f"retried {retried}")


@app.command()
def discard(
    namespace: Namespace,
    company: Company = "default",
    ids: Ids = None,
    rows: Rows = None,
    everything: Everything = False,
    config: Config = None,
    data: Data = None,
) -> None:
    """Delete failed memories for good; prints the receipts of their deletion."""
    from core.records.failures import discard_failed, find_failed  # noqa: PLC0415 - as above

    named = _row_ids(ids, rows, everything=everything)
    with _changed_records("failure.discard", company, config, data) as records:
        opened = records.namespace(namespace)
        discarded = discard_failed(records, opened, find_failed(records, opened, ids or None, named))
    typer.echo(f"discarded {discarded.rows}")
    for receipt in discarded.receipts:
        typer.echo(receipt)


def _row_ids(ids: list[str] | None, rows: list[str] | None, *, everything: bool) -> list[int] | None:
    """Return the rows named, ``None`` when none is. Raises ``InvalidInput`` unless it is clear what is meant."""
    if everything == bool(ids or rows):
        raise InvalidInput("name memories by --id or --row, or all that failed by --all", field="all")
    numbers = [row.removeprefix("m_") for row in rows or []]
    if not all(number.isascii() and number.isdigit() and len(number) <= 18 for number in numbers):
        raise InvalidInput("--row: must be as `ostraka failures list` shows it, such as m_4711", field="row")
    return [int(number) for number in numbers] or None


def _cells(failure: "Failure") -> list[str]:
    memory = "(cannot be opened)" if failure.id is None else failure.id + (" (replaced)" if failure.superseded else "")
    accepted = f"{failure.created_at:%Y-%m-%d %H:%M:%S}"
    cells = [f"m_{failure.row}", memory, failure.job_id, failure.namespace, failure.error, str(failure.attempts)]
    return [escape(cell) for cell in [*cells, accepted]]


@contextmanager
def _records_of(company: str, config: Config, data: Data) -> "Iterator[CompanyRecords]":
    with control_of(config, data) as control:
        yield control.records(control.find_company(company).id)


@contextmanager
def _changed_records(action: str, company: str, config: Config, data: Data) -> "Iterator[CompanyRecords]":
    with control_of(config, data) as control, recorded(control, action) as note:
        note.company = control.find_company(company).id
        yield control.records(note.company)

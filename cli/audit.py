"""``ostraka audit``: who did what, and whether the log of it is whole."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import orjson
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cli.options import Config, Data, control_of
from core.audit.log import AuditLog, Entry
from core.audit.verification import verify_log
from core.clock import to_datetime, to_us

app = typer.Typer(help="Read and verify the audit log.", no_args_is_help=True)

_PAGE: Final = 500


@app.command()
def verify(config: Config = None, data: Data = None) -> None:
    """Check that no entry was changed, moved, left out or cut off. Exit status 1 if one was."""
    with control_of(config, data) as control:
        verdict = verify_log(control.audit)
    for fault in verdict.faults:
        typer.echo(f"entry {fault.seq}: {fault.what}")
    if not verdict.holds:
        raise typer.Exit(1)
    typer.echo(f"whole: {verdict.entries} entries, {verdict.first} to {verdict.last}")


@app.command("list")
def list_all(
    company: Annotated[str | None, typer.Option(help="Only this company.")] = None,
    since: Annotated[
        datetime | None, typer.Option(help="Only from this time on (UTC), such as 2026-11-01 or 2026-11-01T08:30:00.")
    ] = None,
    action: Annotated[str | None, typer.Option(help="Only this action, such as namespace.delete.")] = None,
    limit: Annotated[int, typer.Option(help="At most so many, newest first.", min=1)] = 50,
    json: Annotated[bool, typer.Option("--json", help="JSON lines instead of a table.")] = False,
    config: Config = None,
    data: Data = None,
) -> None:
    """List entries of the audit log, newest first."""
    with control_of(config, data) as control:
        only = None if company is None else control.find_company(company).id
        moment = None if since is None else to_us(since.replace(tzinfo=since.tzinfo or UTC))
        found = _entries(control.audit, limit, company=only, since=moment, action=action)
        if json:
            for entry in found:
                typer.echo(orjson.dumps(_fields(entry)).decode())
            return
        table = Table("entry", "when (UTC)", "who", "what", "result", "times", "company", "namespace", "target", "from")
        for entry in found:
            table.add_row(*map(escape, _cells(entry)))
    console = Console(soft_wrap=True)
    console.print(table if table.row_count else "nothing was recorded")


def _fields(entry: Entry) -> dict[str, Any]:
    event = entry.event
    since = None if event.since is None else to_datetime(event.since)
    return {**event._asdict(), "seq": entry.seq, "at": to_datetime(entry.at), "company": entry.company, "since": since}


def _entries(log: AuditLog, limit: int, **wanted: Any) -> Iterator[Entry]:
    before: int | None = None
    while limit > 0:
        page = log.page(before=before, limit=min(limit, _PAGE), **wanted)
        yield from page.entries
        limit -= len(page.entries)
        before = page.next_before
        if before is None:
            return


def _cells(entry: Entry) -> list[str]:
    event = entry.event
    told = (event.actor, event.action, event.result, str(event.times), entry.company)
    asked = (event.namespace, event.target, event.address)
    return [str(entry.seq), f"{to_datetime(entry.at):%Y-%m-%d %H:%M:%S}", *(each or "" for each in (*told, *asked))]

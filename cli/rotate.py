"""``ostraka rotate``: new keys for the store, a company, a namespace. Works with and without a running server."""

from typing import Annotated, Final

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cli.auditing import recorded
from cli.options import Config, Data, control_of
from core.crypto.keysource import rotating
from core.errors import OstrakaError
from core.pipeline import rotation
from core.records.companies import DEFAULT_COMPANY
from core.records.engine import Database

app = typer.Typer(help="Replace keys, and see how far that is.", no_args_is_help=True)

_LOG: Final = "log to be emptied"

OfCompany = Annotated[str, typer.Option("--company", help="Whose namespace it is.")]


@app.command()
def master(config: Config = None, data: Data = None) -> None:
    """Seal everything that the master key seals with a new one; prints its id. Takes a second."""
    with control_of(config, data) as control, recorded(control, "master.rotate") as note:
        note.target = rotation.rotate_master(control, rotating(control.key_source))
        typer.echo(note.target)
        _say_what_waits(control.database)
        typer.echo("Backups made before need the key of before: keep it for as long as you keep them.", err=True)


@app.command()
def company(name: Annotated[str, typer.Argument(help="Its name.")], config: Config = None, data: Data = None) -> None:
    """Give a company a new key, and destroy the one before; prints the new key's version. Takes a second."""
    with control_of(config, data) as control, recorded(control, "company.rotate") as note:
        note.company = control.find_company(name).id
        typer.echo(rotation.rotate_company(control, note.company))
        _say_what_waits(control.database, control.records(note.company).database)


@app.command()
def namespace(
    name: Annotated[str, typer.Argument(help="Its name.")],
    of_company: OfCompany = DEFAULT_COMPANY,
    config: Config = None,
    data: Data = None,
) -> None:
    """Give a namespace a new key for all that is written from now on; prints its version.

    Workers seal anew what is there, then the older key is destroyed: `ostraka rotate status` says how far that is.
    """
    with control_of(config, data) as control, recorded(control, "namespace.rotate") as note:
        note.company = control.find_company(of_company).id
        records = control.records(note.company)
        note.namespace = records.namespace(name).public_id
        typer.echo(rotation.rotate_namespace(records, name))


@app.command()
def status(config: Config = None, data: Data = None) -> None:
    """Show which keys are being replaced, and what still needs the older ones. Reads every row that may."""
    with control_of(config, data) as control:
        table = Table("company", "namespace", "key version", "rows left", "shards left", "still to be done")
        table.add_row("(the store)", "", "", "", "", _LOG if rotation.log_waits(control.database) else "")
        for company_id in control.company_ids():
            try:
                _add_rows(table, control.company(company_id).name, rotation.company_rotation(control, company_id))
            except OstrakaError as error:  # the others are to be seen all the same
                table.add_row(company_id, "", "", "", "", f"{error.reason}: {escape(error.message)}")
        Console(soft_wrap=True).print(table)


def _add_rows(table: Table, name: str, found: rotation.CompanyRotation) -> None:
    notes = ["rotation"] * found.unfinished + [_LOG] * found.log
    table.add_row(escape(name), "", str(found.version), "", "", ", ".join(notes))
    for each in found.retiring:
        table.add_row("", escape(each.name), str(each.version), str(each.rows), str(each.shards), "")


def _say_what_waits(*databases: Database) -> None:
    if any(rotation.log_waits(database) for database in databases):
        typer.echo(
            "Readers hold a log that has the key of before: maintenance empties it, or the next start.", err=True
        )

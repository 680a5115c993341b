"""``ostraka companies``: the tenants of a server."""

from typing import Annotated

import typer

from cli.options import Config, Data, control_of
from core.clock import to_datetime

app = typer.Typer(help="Create and list companies.", no_args_is_help=True)


@app.command()
def create(name: Annotated[str, typer.Argument(help="Its name.")], config: Config = None, data: Data = None) -> None:
    """Create a company with its own directory and key; prints its id."""
    with control_of(config, data) as control:
        typer.echo(control.create_company(name).id)


@app.command("list")
def list_all(config: Config = None, data: Data = None) -> None:
    """List the companies."""
    with control_of(config, data) as control:
        for company in control.companies():
            typer.echo(f"{company.id}  {to_datetime(company.created_at):%Y-%m-%d %H:%M}  {company.name}")


def accept_rollback(
    company: Annotated[str, typer.Option(help="Whose record store to take as it is.")],
    config: Config = None,
    data: Data = None,
) -> None:
    """Accept a record store put back from an older copy: what was newer is lost, what was deleted since returns."""
    with control_of(config, data) as control:
        control.accept_rollback(control.find_company(company).id)

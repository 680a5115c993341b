"""``ostraka upgrade``: bring the databases up to this release before anything else of it starts."""

import typer

from cli.options import Config, Data, control_of


def upgrade(config: Config = None, data: Data = None) -> None:
    """Bring every database up to this release, each copied first.

    Every start does that, too: a fleet does it once before, so that a failure is this command's.
    """
    with control_of(config, data) as control:
        companies = control.company_ids()
        for company_id in companies:
            control.records(company_id)  # to open is to migrate
    typer.echo(f"up to date: the control database and {len(companies)} of companies")

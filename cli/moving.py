"""``ostraka migrate-store``: the record store's way from SQLite files to PostgreSQL."""

import os
from contextlib import closing
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from cli.auditing import recorded
from cli.options import Config, Data, opened_control, settings_of
from core.databaseurl import is_database_url, split_password
from core.errors import ConfigurationError, IntegrityError, InvalidInput, Unavailable
from core.pipeline.relocation import relocate
from core.records.keycheck import check_keys
from core.records.places import open_place
from core.settings import Settings

To = Annotated[
    str | None,
    typer.Option("--to", help="postgresql://user@host/database, without its password. Default: that of the settings."),
]


def migrate_store(to: To = None, config: Config = None, data: Data = None) -> None:
    """Copy the record store from the SQLite files of --data to PostgreSQL, and compare every row.

    No write is taken from then on; searches go on. Index files stay where they are. If it is cut off, repeat it: it
    goes on where it was.
    """
    settings = settings_of(config, data)
    target = _with_database(settings, _address(settings, to))
    files = _with_database(settings, "")
    root = files.storage.path
    if not (root / "control.db").is_file():
        raise ConfigurationError(f"[storage] path: {root} holds no record store; name the data directory to be moved")
    with closing(open_place(target.storage, os.environ)) as place, opened_control(files) as control:
        try:
            with recorded(control, "store.migrate", while_frozen=True), _progress() as progress:
                task = progress.add_task("Copying rows", total=None)
                relocate(control, place, lambda rows, total: progress.update(task, completed=rows, total=total))
        except (IntegrityError, Unavailable):
            if control.database.frozen:
                typer.echo(f"{root} is frozen: repeat this, or take writes again with `ostraka unfreeze`", err=True)
            raise
    with opened_control(target) as moved, recorded(moved, "store.migrate"):
        companies = moved.company_ids()
        spaces = sum(check_keys(moved, moved.records(company)) for company in companies)
    typer.echo(
        f"{place.where} holds the store: every row was compared, every key of {len(companies)} companies and {spaces} "
        "namespaces opens.\n"
        "Set [storage] database_url to it, and start the server anew.\n"
        f"The files in {root} are as they were, and take no writes. To go back to them, which loses what is written "
        "from now on: unset database_url, then run `ostraka unfreeze`."
    )


def _address(settings: Settings, to: str | None) -> str:
    """Return where to move. Raises ``InvalidInput`` when that is not said, or a password stands among the arguments."""
    if to is None and not settings.storage.database_url:
        raise InvalidInput("name --to postgresql://user@host/database, or set [storage] database_url", field="to")
    if to is None:
        return settings.storage.database_url
    if not is_database_url(to):
        raise InvalidInput("--to: is no address of PostgreSQL; write postgresql://user@host/database", field="to")
    if split_password(to)[1] is not None:
        raise InvalidInput(
            "--to: every user of this machine sees the arguments of a command; give the password in PGPASSWORD or "
            "[storage] database_password_file",
            field="to",
        )
    return to


def _with_database(settings: Settings, url: str) -> Settings:
    """Return the settings with another record store; where that is files, no password goes with it."""
    changed = {"database_url": url} if url else {"database_url": url, "database_password_file": None}
    return settings.model_copy(update={"storage": settings.storage.model_copy(update=changed)})


def _progress() -> Progress:
    """Return a display on standard error, silent unless that is a terminal."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)

"""``ostraka companies``: the tenants of a server."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Final, Unpack

import typer

from cli.auditing import recorded
from cli.options import Config, Data, control_of, opened_control, settings_of
from core import limits
from core.clock import to_datetime
from core.errors import InvalidInput
from core.pipeline.departures import delete_company
from core.records.companies import Company
from core.records.lifecycle import Changes, change_terms
from core.shards.cache import ShardCache

app = typer.Typer(help="Create, list, bound, suspend, resume and delete companies.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="Its name.")]
_LIFTED: Final = "none"
_Bound = Annotated[str | None, typer.Option(help=f"A number, or {_LIFTED}: no bound.")]


@app.command()
def create(name: Name, config: Config = None, data: Data = None) -> None:
    """Create a company with its own directory and key; prints its id."""
    with control_of(config, data) as control, recorded(control, "company.create") as note:
        note.company = control.create_company(name).id
        typer.echo(note.company)


@app.command("list")
def list_all(config: Config = None, data: Data = None) -> None:
    """List the companies and what they may use."""
    with control_of(config, data) as control:
        for company in control.companies():
            typer.echo(_line(company))


@app.command()
def suspend(name: Name, config: Config = None, data: Data = None) -> None:
    """Refuse every request of a company within a second, and leave its work alone; everything is kept."""
    _change(name, config, data, suspended=True)


@app.command()
def resume(name: Name, config: Config = None, data: Data = None) -> None:
    """End a suspension; what waited goes on."""
    _change(name, config, data, suspended=False)


@app.command()
def quota(
    name: Name,
    memories: _Bound = None,
    size: Annotated[str | None, typer.Option("--bytes", help=f"A number, or {_LIFTED}: no bound.")] = None,
    requests_per_s: _Bound = None,
    config: Config = None,
    data: Data = None,
) -> None:
    """Bound what a company may keep and ask; what is not named stays. Prints what holds then."""
    changes: Changes = {}
    if memories is not None:
        changes["memories_max"] = parse_count(memories, "memories")
    if size is not None:
        changes["bytes_max"] = parse_count(size, "bytes")
    if requests_per_s is not None:
        changes["requests_per_s"] = parse_rate(requests_per_s, "requests-per-s")
    typer.echo(_line(_change(name, config, data, **changes)))


@app.command()
def delete(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    config: Config = None,
    data: Data = None,
) -> None:
    """Delete a company with everything of it: its key first, then its files. Nothing brings it back but a backup."""
    settings = settings_of(config, data)
    with opened_control(settings) as control:
        company = control.find_company(name)
        if not yes:
            typer.confirm(f"Destroy the key and the data of company {name} ({company.id})?", abort=True)
        cache = settings.cache
        with (
            ShardCache(cache.path, control.root, cache.bytes_max, allow_disk=cache.allow_disk) as opened,
            recorded(control, "company.delete") as note,
        ):
            note.company = company.id
            departure = delete_company(control, opened, company.id)
    typer.echo(f"{company.id} was deleted; its key is destroyed")
    if not (departure.key_erased and departure.files_removed):
        typer.echo("the rest of its files goes with the server's maintenance, or at its next start", err=True)


def accept_rollback(
    company: Annotated[str, typer.Option(help="Whose record store to take as it is.")],
    config: Config = None,
    data: Data = None,
) -> None:
    """Accept a record store put back from an older copy: what was newer is lost, what was deleted since returns."""
    with control_of(config, data) as control, recorded(control, "company.accept_rollback") as note:
        note.company = control.find_company(company).id
        control.accept_rollback(note.company)


def parse_count(text: str, option: str) -> int | None:
    """Return a bound on an amount. Raises ``InvalidInput``."""
    if text == _LIFTED:
        return None
    if not (text.isascii() and text.isdigit() and int(text) <= limits.QUOTA_MAX):
        raise InvalidInput(f"--{option}: must be a whole number or {_LIFTED}", field=option)
    return int(text)


def parse_rate(text: str, option: str) -> float | None:
    """Return a bound on a rate. Raises ``InvalidInput``."""
    if text == _LIFTED:
        return None
    try:
        rate = float(text)
    except ValueError:
        rate = math.nan
    if not 0 < rate <= limits.QUOTA_MAX:
        raise InvalidInput(f"--{option}: must be a number above 0 or {_LIFTED}", field=option)
    return rate


def _change(name: str, config: Path | None, data: Path | None, **changes: Unpack[Changes]) -> Company:
    with control_of(config, data) as control, recorded(control, "company.change") as note:
        company = control.find_company(name)
        note.company = company.id
        return replace(company, terms=change_terms(control, company.id, **changes))


def _line(company: Company) -> str:
    terms = company.terms
    bounds = {"memories": terms.memories_max, "bytes": terms.bytes_max, "requests/s": terms.requests_per_s}
    told = [f"{value:,} {what}" for what, value in bounds.items() if value is not None]
    state = "suspended" if terms.suspended else "active"
    made = f"{to_datetime(company.created_at):%Y-%m-%d %H:%M}"
    return f"{company.id}  {made}  {state}  {', '.join(told) or '-'}  {company.name}"

"""``ostraka keys``: API keys."""

import re
from typing import Annotated, Final

import typer

from cli.auditing import recorded
from cli.options import Config, Data, control_of
from core.clock import to_datetime
from core.errors import InvalidInput
from core.records.apikeys import create_key, find_key, list_keys, reset_keys, revoke_key, rotate_key, split_key
from core.records.grants import Grant

app = typer.Typer(help="Create, list, rotate and revoke API keys.", no_args_is_help=True)

_UNIT_US: Final = {"m": 60_000_000, "h": 3_600_000_000, "d": 86_400_000_000}

KeyId = Annotated[str, typer.Argument(help="key_…")]


@app.command()
def create(
    company: Annotated[str, typer.Option(help="Whose key it is.")] = "default",
    scope: Annotated[str, typer.Option(help="read, write, admin; comma-separated.")] = "read,write",
    namespace: Annotated[list[str] | None, typer.Option(help="Pattern such as 'agent-*'; repeat for more.")] = None,
    expires: Annotated[str | None, typer.Option(help="Lifetime such as 90d, 12h or 30m.")] = None,
    requests_per_s: Annotated[float | None, typer.Option(help="Calls a second. Default: the setting.")] = None,
    config: Config = None,
    data: Data = None,
) -> None:
    """Create a key and print it, once, alone on its line."""
    with control_of(config, data) as control, recorded(control, "key.create") as note:
        note.company = control.find_company(company).id
        until = None if expires is None else control.clock() + parse_lifetime_us(expires)
        key = create_key(control, note.company, scope.split(","), namespace or ["*"], until, requests_per_s)
        note.target = split_key(key)[0]
        typer.echo(key)


@app.command("list")
def list_all(
    company: Annotated[str | None, typer.Option(help="Whose keys. Default: everybody's.")] = None,
    config: Config = None,
    data: Data = None,
) -> None:
    """List the keys; secrets are not stored and cannot be shown."""
    with control_of(config, data) as control:
        for key in list_keys(control, control.find_company(company).id if company else None):
            grant = key.grant
            rate = "-" if grant.requests_per_s is None else f"{grant.requests_per_s:g}/s"
            said = (grant.company_id, ",".join(grant.scopes), ",".join(grant.patterns), rate, _end(grant))
            typer.echo("  ".join((key.id, *said)))


@app.command()
def rotate(
    key_id: KeyId,
    overlap: Annotated[str, typer.Option(help="How long the old key goes on, such as 1h or 30m.")] = "1h",
    config: Config = None,
    data: Data = None,
) -> None:
    """Create a key with the same rights and end, print it, and let the old one end after the overlap."""
    with control_of(config, data) as control, recorded(control, "key.rotate") as note:
        note.company, note.target = find_key(control, key_id).grant.company_id, key_id
        typer.echo(rotate_key(control, key_id, parse_lifetime_us(overlap, "overlap")))


@app.command()
def revoke(key_id: KeyId, config: Config = None, data: Data = None) -> None:
    """Revoke a key; it stops working within a second."""
    with control_of(config, data) as control, recorded(control, "key.revoke") as note:
        note.company, note.target = find_key(control, key_id).grant.company_id, key_id
        revoke_key(control, key_id)


@app.command()
def reset(
    company: Annotated[str, typer.Option(help="Whose keys.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    config: Config = None,
    data: Data = None,
) -> None:
    """Drop every key of a company, also where they were tampered with; prints how many. Create new ones afterwards."""
    with control_of(config, data) as control:
        found = control.find_company(company)
        if not yes:
            typer.confirm(f"Drop every API key of company {company} ({found.id})?", abort=True)
        with recorded(control, "key.reset") as note:
            note.company = found.id
            dropped = reset_keys(control, found.id)
    typer.echo(dropped)


def parse_lifetime_us(text: str, option: str = "expires") -> int:
    """Return a lifetime in microseconds. Raises ``InvalidInput``."""
    match = re.fullmatch(r"([1-9][0-9]{0,5})([mhd])", text)
    if not match:
        raise InvalidInput(f"--{option}: must be a number and m, h or d, such as 90d", field=option)
    return int(match[1]) * _UNIT_US[match[2]]


def _end(grant: Grant) -> str:
    if grant.revoked_at is not None:
        return "revoked"
    return "-" if grant.expires_at is None else f"{to_datetime(grant.expires_at):%Y-%m-%d %H:%M}"

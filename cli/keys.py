"""``ostraka keys``: API keys."""

import re
from typing import Annotated, Final

import typer

from cli.options import Config, Data, control_of
from core.clock import to_datetime
from core.errors import InvalidInput
from core.records.apikeys import create_key, list_keys, revoke_key

app = typer.Typer(help="Create, list and revoke API keys.", no_args_is_help=True)

_UNIT_US: Final = {"m": 60_000_000, "h": 3_600_000_000, "d": 86_400_000_000}


@app.command()
def create(
    company: Annotated[str, typer.Option(help="Whose key it is.")] = "default",
    scope: Annotated[str, typer.Option(help="read, write, admin; comma-separated.")] = "read,write",
    namespace: Annotated[list[str] | None, typer.Option(help="Pattern such as 'agent-*'; repeat for more.")] = None,
    expires: Annotated[str | None, typer.Option(help="Lifetime such as 90d, 12h or 30m.")] = None,
    config: Config = None,
    data: Data = None,
) -> None:
    """Create a key and print it, once, alone on its line."""
    with control_of(config, data) as control:
        owner = control.find_company(company)
        until = None if expires is None else control.clock() + parse_lifetime_us(expires)
        typer.echo(create_key(control, owner.id, scope.split(","), namespace or ["*"], until))


@app.command("list")
def list_all(config: Config = None, data: Data = None) -> None:
    """List the keys; secrets are not stored and cannot be shown."""
    with control_of(config, data) as control:
        for key in list_keys(control):
            ends = "revoked" if key.revoked_at else f"{to_datetime(key.expires_at):%Y-%m-%d}" if key.expires_at else "-"
            typer.echo(f"{key.id}  {key.company_id}  {','.join(key.scopes)}  {','.join(key.patterns)}  {ends}")


@app.command()
def revoke(key_id: Annotated[str, typer.Argument(help="key_…")], config: Config = None, data: Data = None) -> None:
    """Revoke a key; it stops working within a second."""
    with control_of(config, data) as control:
        revoke_key(control, key_id)


def parse_lifetime_us(text: str) -> int:
    """Return a lifetime in microseconds. Raises ``InvalidInput``."""
    match = re.fullmatch(r"([1-9][0-9]{0,5})([mhd])", text)
    if not match:
        raise InvalidInput("--expires: must be a number and m, h or d, such as 90d", field="expires")
    return int(match[1]) * _UNIT_US[match[2]]

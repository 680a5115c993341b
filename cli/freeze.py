"""``ostraka freeze`` and ``unfreeze``: hold the data directory still while its files are copied."""

from typing import Annotated

import typer

from cli.auditing import recorded
from cli.options import Config, Data, control_of
from core import limits
from core.clock import to_datetime
from core.pipeline import freezing


def freeze(
    max_seconds: Annotated[
        float | None,
        typer.Option(
            help="End by itself after this. Default: only `unfreeze` ends it.", min=1, max=limits.FREEZE_S_MAX
        ),
    ] = None,
    config: Config = None,
    data: Data = None,
) -> None:
    """Let work under way end, refuse new writes, and return once a copy of the data directory is complete.

    Searches go on. Works with and without a running server.
    """
    with control_of(config, data) as control, recorded(control, "server.freeze", while_frozen=True):
        outcome = freezing.freeze(control, max_seconds)
        until = outcome.state.frozen_until
        ends = "until `ostraka unfreeze`" if until is None else f"until {to_datetime(until):%Y-%m-%d %H:%M:%S} UTC"
        where = control.place.where
        also = "" if where == str(control.root) else f", and dump {where}"
        typer.echo(f"frozen {ends}: copy {control.root}{also}")
        if not outcome.drained:
            typer.echo("Some work did not end in time. It was cut off and is done again later.", err=True)


def unfreeze(config: Config = None, data: Data = None) -> None:
    """Take writes again."""
    with control_of(config, data) as control:
        with recorded(control, "server.unfreeze", regardless=True):
            freezing.unfreeze(control)
        typer.echo("open: writes are taken")

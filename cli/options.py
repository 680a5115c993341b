"""Options and openings that several commands share."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import TypeAdapter, ValidationError

from cli.faults import said_of
from cli.logs import configure_logs
from core.errors import InvalidInput
from core.memory import Name
from core.records.control import ControlStore, open_control
from core.settings import Settings, load_settings

Config = Annotated[Path | None, typer.Option("--config", help="Settings file. Default: ostraka.toml, if there is one.")]
Host = Annotated[str | None, typer.Option(help="Address to listen on.")]
Port = Annotated[int | None, typer.Option(help="Port to listen on; 0 picks a free one.")]
Data = Annotated[Path | None, typer.Option("--data", help="Data directory. Default: ostraka-data.")]


def settings_of(config: Path | None, data: Path | None, section: str = "server", **flags: Any) -> Settings:
    """Load the settings under the flags given, which are of one section, and configure the logs by them."""
    given = {name: value for name, value in flags.items() if value is not None}
    overrides: dict[str, Any] = {section: given} if given else {}
    if data is not None:
        overrides["storage"] = {"path": data}
    settings = load_settings(config, overrides)
    configure_logs(settings.server)
    return settings


def checked_namespace(name: str) -> str:
    """Return a namespace's name as the server would take it. Raises ``InvalidInput``."""
    try:
        checked: str = TypeAdapter(Name).validate_python(name)
    except ValidationError as error:
        raise InvalidInput(f"--namespace: {said_of(error)}", field="namespace") from None
    return checked


@contextmanager
def control_of(config: Path | None, data: Path | None) -> Iterator[ControlStore]:
    """Yield the control store that the flags name."""
    with opened_control(settings_of(config, data)) as control:
        yield control


@contextmanager
def opened_control(settings: Settings) -> Iterator[ControlStore]:
    """Yield the control store of the settings, and close it."""
    control = open_control(settings)
    try:
        yield control
    finally:
        control.close()

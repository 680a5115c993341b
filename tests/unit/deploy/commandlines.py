"""What a manifest says of our commands and settings, held against the code."""

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import typer

from cli.main import app
from core.settings import Settings, load_settings

ROOT = Path(__file__).parents[3]
SETTINGS = {
    f"OSTRAKA_{section}__{name}".upper()
    for section, field in Settings.model_fields.items()
    for name in type(field.default).model_fields
} | {"OSTRAKA_CONFIG", "OSTRAKA_MODELS_DIR"}


def tool(name: str) -> str:
    """Where a tool of the development environment is."""
    found = shutil.which(name, path=str(Path(sys.executable).parent))
    assert found, f"{name} is not here; `make test` installs it"
    return found


def parsed(words: Sequence[str]) -> dict[str, object]:
    """The parameters that the ``ostraka`` command reads from words; it exits where it would refuse them."""
    command, rest = typer.main.get_command(app), list(words)
    while hasattr(command, "commands"):
        name = rest.pop(0)
        assert name in command.commands, f"ostraka {' '.join(words)}: there is no {name}"
        command = command.commands[name]
    return dict(command.make_context(words[0], rest).params)


def settings_in(file: Path, text: str, monkeypatch, **variables: str) -> Settings:
    """The settings that a process loads from a file of the manifests, under the variables it is given."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    file.write_text(text)
    return load_settings(file)


def size_of(text: str) -> int:
    """Bytes of a quantity, as Kubernetes and compose write it."""
    units = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "kb": 2**10, "mb": 2**20, "gb": 2**30, "m": 2**20, "g": 2**30}
    for unit, factor in units.items():
        if text.endswith(unit):
            return int(text.removesuffix(unit)) * factor
    return int(text)

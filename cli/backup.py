"""``ostraka backup``: make, verify, inspect, list and restore backups."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer
from rich.console import Console
from rich.progress import Progress

from cli.auditing import recorded
from cli.backup_tables import show_contents, show_header, show_shelf
from cli.options import Config, Data, control_of, opened_control, settings_of
from core.backup.creating import Backup, open_backup
from core.backup.header import Header, read_header
from core.backup.reading import BackupReader
from core.backup.restoring import restore_directory, verify
from core.backup.shelf import SUFFIX, look_through, pick
from core.crypto.keys import MasterKey
from core.crypto.keysource import ENV_VARIABLE, find_for_backup, open_key_source
from core.durability import make_durable_directory, write_whole
from core.embedding.fingerprint import fingerprint_of
from core.embedding.importing import find_spec
from core.embedding.manifest import read_manifest
from core.embedding.models import default_models_dir, ensure_model
from core.errors import ConfigurationError, InvalidInput
from core.records.companies import DEFAULT_COMPANY
from core.records.places import open_place
from core.settings import Settings
from core.shards.depot import open_depot

if TYPE_CHECKING:
    from core.backup.rewriting import Rewritten

app = typer.Typer(help="Make, verify and restore sealed backups.", no_args_is_help=True)

File = Annotated[Path, typer.Argument(help="A backup.", exists=True, dir_okay=False, readable=True)]
OneCompany = Annotated[str | None, typer.Option(help="Only this company. Default: everything.")]


@app.command()
def create(
    out: Annotated[Path | None, typer.Option(help="File to write; - writes to standard output.")] = None,
    to: Annotated[Path | None, typer.Option(help="Folder to write to, under the backup's own name.")] = None,
    company: OneCompany = None,
    config: Config = None,
    data: Data = None,
) -> None:
    """Back up the store, while a server runs on it or not. Prints the file."""
    if (out is None) == (to is None):
        raise InvalidInput("name either --out FILE or --to FOLDER", field="out")
    if out == Path("-") and sys.stdout.isatty():
        raise InvalidInput("--out: a backup is no text; send standard output to a file or a program", field="out")
    with control_of(config, data) as control, recorded(control, "backup.create") as note:
        only = note.company = None if company is None else control.find_company(company).id
        with open_backup(control, only) as backup:
            note.target = backup.header.backup
            if out == Path("-"):
                for chunk in _shown(backup):
                    sys.stdout.buffer.write(chunk)
                sys.stdout.buffer.flush()
                return
            path = out or (to or Path()) / f"{backup.header.backup}{SUFFIX}"
            _write(path, backup)
            typer.echo(path)


@app.command("verify")
def verify_file(file: File, config: Config = None) -> None:
    """Authenticate every byte of a backup and compare it with what it says it holds."""
    with _opened(file, settings_of(config, None)) as backup:
        verify(backup)
        typer.echo(f"{backup.header.backup} is whole and authentic")


@app.command()
def inspect(file: File, config: Config = None) -> None:
    """Show what a backup says of itself, and, with its key, what it holds."""
    console = Console()
    with file.open("rb") as source:
        show_header(console, read_header(source)[0], file.stat().st_size)
    try:
        with _opened(file, settings_of(config, None)) as backup:
            show_contents(console, backup.manifest)
    except ConfigurationError as error:
        Console(stderr=True).print(error.message)


@app.command("list")
def list_all(
    folder: Annotated[Path, typer.Argument(help="A folder of backups.", exists=True, file_okay=False)],
    config: Config = None,
) -> None:
    """List the backups of a folder with the generation of each namespace."""
    show_shelf(Console(), look_through(folder, _key_finder(settings_of(config, None))))


@app.command()
def restore(
    source: Annotated[Path, typer.Argument(help="A backup, or a folder of backups.", exists=True)],
    into_company: Annotated[
        str | None, typer.Option(help="Write the memories anew into this company of the store at --data.")
    ] = None,
    company: Annotated[str, typer.Option(help="Whose namespaces, in the backup.")] = DEFAULT_COMPANY,
    namespace: Annotated[
        list[str] | None, typer.Option(help="OLD=NEW or NAME; repeat for more. Default: all of the company.")
    ] = None,
    generation: Annotated[
        int | None, typer.Option(help="From a folder: the newest state of --namespace up to this generation.", min=0)
    ] = None,
    config: Config = None,
    data: Data = None,
) -> None:
    """Restore a whole store into the empty directory --data, or memories into a company of a store that is there."""
    settings = settings_of(config, data)
    names = {pair.partition("=")[0]: pair.partition("=")[2] or pair for pair in namespace or []}
    file = _chosen(source, settings, company, list(names), generation)
    with _opened(file, settings, replaced=into_company is not None) as backup:
        if into_company is None:
            if any(old != new for old, new in names.items()) or (names and not source.is_dir()):
                raise InvalidInput("--namespace: a whole store is restored; name --into-company too", field="namespace")
            storage = settings.storage
            depot = open_depot(storage, storage.path) if storage.blobs_url else None
            with closing(open_place(storage, os.environ)) as place:
                restore_directory(backup, storage.path, place if storage.database_url else None, depot)
            with control_of(config, data) as control, recorded(control, "backup.restore") as note:
                note.target = backup.header.backup
            typer.echo(f"{settings.storage.path} holds the store of {backup.header.backup}")
            return
        done = _restore_into(backup, settings, into_company, company, names)
    typer.echo(f"{done.memories} memories written, {done.vectors_kept} with the vectors they had")


def _restore_into(
    backup: BackupReader, settings: Settings, into: str, company: str, names: dict[str, str]
) -> "Rewritten":
    from core.backup.rewriting import rewrite, unpacked  # noqa: PLC0415 - other commands need none of the index

    fingerprint = _fingerprint(settings)
    with opened_control(settings) as control, recorded(control, "backup.restore") as note:
        note.company, note.target = control.find_company(into).id, backup.header.backup
        target = control.records(note.company)
        with unpacked(backup, control) as saved, _progress() as progress:
            source = saved.records(saved.find_company(company).id)
            wanted = names or {each.name: each.name for each in source.namespaces()}
            total = sum(
                each.memories
                for part in backup.manifest.companies
                if part.id == source.company
                for each in part.namespaces
                if each.name in wanted
            )
            task = progress.add_task("Writing memories", total=total)
            return rewrite(
                source,
                target,
                wanted,
                backup=backup.header.backup,
                fingerprint=fingerprint,
                on_written=lambda rows: progress.advance(task, rows),
            )


def _chosen(source: Path, settings: Settings, company: str, names: list[str], generation: int | None) -> Path:
    """Return the backup that is meant. Raises ``InvalidInput`` when that is not said, ``NotFound``."""
    if not source.is_dir():
        if generation is not None:
            raise InvalidInput("--generation: chooses from a folder of backups; name the folder", field="generation")
        return source
    if generation is None or len(names) != 1:
        raise InvalidInput("a folder: name one --namespace and its --generation, or a file of it", field="generation")
    found = pick(look_through(source, _key_finder(settings)), company, names[0], generation)
    held = found.namespace(company, names[0])
    typer.echo(f"{found.path.name} holds {names[0]!r} at generation {held.generation if held else generation}")
    return found.path


def _fingerprint(settings: Settings) -> str:
    models_dir = default_models_dir()
    folder = ensure_model(find_spec(settings.embeddings.model, models_dir), models_dir)
    return fingerprint_of(read_manifest(folder), settings.embeddings.precision)


def _key_finder(settings: Settings, *, replaced: bool = True) -> Callable[[Header], MasterKey]:
    """Return what finds a backup's key; without ``replaced``, only where the restored store would find it, too."""

    def find(header: Header) -> MasterKey:
        source = open_key_source(settings.storage, header.store, os.environ)
        look = partial(find_for_backup, source) if replaced else source.find
        master = look(header.master_key)
        if master is None:
            raise ConfigurationError(
                f"the backup needs master key {header.master_key}, and no key was found: set {ENV_VARIABLE}, "
                f"[storage] key_file or key_source, or put the key back ({source.where})"
            )
        return master

    return find


@contextmanager
def _opened(file: Path, settings: Settings, *, replaced: bool = True) -> Iterator[BackupReader]:
    """Open a backup; reading it is shown on a terminal. What a disk refuses meanwhile is said in a line."""
    with _progress() as progress:
        source: BinaryIO
        try:
            with progress.open(file, "rb", description="Reading") as source:
                yield BackupReader(source, _key_finder(settings, replaced=replaced))
        except OSError as error:
            place = error.filename or file
            raise ConfigurationError(f"{place}: {error.strerror}; make room, or name another place") from None


def _write(path: Path, backup: Backup) -> None:
    try:
        make_durable_directory(path.absolute().parent)
        write_whole(path.absolute(), _shown(backup))
    except FileExistsError:
        raise InvalidInput(f"--out: {path} exists; choose another name", field="out") from None
    except OSError as error:
        raise ConfigurationError(f"--out: {path} cannot be written: {error.strerror}; choose another") from None


def _shown(backup: Backup) -> Iterator[bytes]:
    """Yield a backup's bytes; progress is shown on a terminal."""
    with _progress() as progress:
        task = progress.add_task("Writing", total=backup.size)
        for chunk in backup.chunks():
            yield chunk
            progress.advance(task, len(chunk))


def _progress() -> Progress:
    """Return a display on standard error, silent unless that is a terminal."""
    console = Console(stderr=True)
    return Progress(console=console, transient=True, disable=not console.is_terminal)

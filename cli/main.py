"""The ``ostraka`` command. The only place that composes API, workers and core."""

import os

# Threads of ours run side by side; a matrix product that starts its own would only fight them.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli import audit, backup, companies, deletions, failures, freeze, keys, models, moving, rotate, transfer, upgrade
from cli.backfill.command import backfill
from cli.options import Config, Data, Host, Port, settings_of
from cli.secrecy import take_secrets
from core.errors import OstrakaError

if TYPE_CHECKING:
    from api.roles import Role
    from core.settings import Settings

app = typer.Typer(name="ostraka", help="Self-hosted, encrypted memory for AI agents.", no_args_is_help=True)
app.add_typer(companies.app, name="companies")
app.command("accept-rollback")(companies.accept_rollback)
app.add_typer(failures.app, name="failures")
app.add_typer(keys.app, name="keys")
app.add_typer(models.app, name="models")
app.add_typer(audit.app, name="audit")
app.add_typer(backup.app, name="backup")
app.add_typer(rotate.app, name="rotate")
app.command()(freeze.freeze)
app.command()(freeze.unfreeze)
app.command("export")(transfer.export_)
app.command("import")(transfer.import_)
app.command()(backfill)
app.command("migrate-store")(moving.migrate_store)
app.command("verify-deleted")(deletions.verify_deleted)
app.command()(upgrade.upgrade)


@app.command()
def serve(
    config: Config = None,
    data: Data = None,
    host: Host = None,
    port: Port = None,
) -> None:
    """Run everything: the API, one worker, a private Redis."""
    secrets = take_secrets()  # first: a process that begins anew would load everything twice
    from cli.serving import run_embedded  # noqa: PLC0415 - other commands need no web server

    settings = settings_of(config, data, host=host, port=port)
    models.prepare(settings)
    run_embedded(settings, secrets)


@app.command()
def api(
    config: Config = None,
    data: Data = None,
    host: Host = None,
    port: Port = None,
    search: Annotated[bool, typer.Option("--search/--no-search", help="Serve searches, too.")] = True,
) -> None:
    """Run the API; workers and Redis run elsewhere."""
    secrets = take_secrets()
    from api.roles import Role  # noqa: PLC0415 - other commands need no web server

    _run_api(settings_of(config, data, host=host, port=port), secrets, Role.ALL if search else Role.NO_SEARCH)


@app.command()
def query(
    config: Config = None,
    data: Data = None,
    host: Host = None,
    port: Port = None,
) -> None:
    """Run the query service: searches, health and metrics alone."""
    secrets = take_secrets()
    from api.roles import Role  # noqa: PLC0415 - other commands need no web server

    _run_api(settings_of(config, data, host=host, port=port), secrets, Role.QUERY)


def _run_api(settings: "Settings", secrets: dict[str, str], role: "Role") -> None:
    from cli.serving import run_api  # noqa: PLC0415 - other commands need no web server

    models.prepare(settings)
    run_api(settings, secrets, role)


@app.command()
def worker(
    config: Config = None,
    data: Data = None,
    queues: Annotated[str, typer.Option(help="Queues to serve, comma-separated.")] = "embed,embed-bulk,index,maintain",
    nice: Annotated[int, typer.Option(help="Priority below other processes.", min=0, max=19)] = 0,
) -> None:
    """Run a worker process."""
    from core.pipeline.doorbell import QUEUES  # noqa: PLC0415

    names = queues.split(",")
    if unknown := set(names) - set(QUEUES):
        raise typer.BadParameter(f"{', '.join(sorted(unknown))}: choose from {', '.join(QUEUES)}")
    _yield_to_others(nice)
    secrets = take_secrets()  # from here on, our niceness is out of our reach
    from workers.worker import run_worker  # noqa: PLC0415 - other commands need no queue

    run_worker(settings_of(config, data), names, {**os.environ, **secrets})


@app.command()
def scheduler(config: Config = None, data: Data = None) -> None:
    """Ring for forgotten work of every company; the workers do it."""
    secrets = take_secrets()
    from workers.scheduler import run_scheduler  # noqa: PLC0415 - other commands need no queue

    run_scheduler(settings_of(config, data), {**os.environ, **secrets})


@app.command()
def flower(
    config: Config = None,
    data: Data = None,
    host: Host = None,
    port: Port = None,
) -> None:
    """Show Celery's tasks on a page, read-only; by default on 127.0.0.1:5555."""
    take_secrets()
    from api.addresses import is_loopback  # noqa: PLC0415 - other commands need no web server
    from workers.flower import run_flower  # noqa: PLC0415

    settings = settings_of(config, data, "flower", host=host, port=port)
    run_flower(settings, loopback=is_loopback(settings.flower.host))


@app.command()
def doctor(config: Config = None, data: Data = None) -> None:
    """Check settings, keys, record stores, shards, queues and Redis; status 1 when something is not well.

    Repairs nothing, and works with and without a running server.
    """
    from cli.doctor import run_doctor  # noqa: PLC0415 - other commands need no index

    raise typer.Exit(run_doctor(config, data))


@app.command()
def demo() -> None:
    """Load a small conversation into a private server, search it, show answers and times."""
    from cli.demo import run_demo  # noqa: PLC0415 - other commands need no client

    run_demo()


def _yield_to_others(nice: int) -> None:
    """Lower our priority, also that of our session: where Linux groups sessions, niceness counts only inside one."""
    os.nice(max(nice - os.nice(0), 0))  # a process that begins anew for its secrets comes here twice
    if nice:
        with suppress(OSError):  # no such grouping, or not allowed
            Path("/proc/self/autogroup").write_text(str(nice))


def main() -> None:
    """Run the command; errors that a user can mend are one line and exit status 2."""
    try:
        app()
    except OstrakaError as error:
        typer.secho(f"ostraka: {error.message}", err=True, fg="red")
        raise SystemExit(2) from None
    except OSError as error:  # a disk that is read-only or fails
        where = f"{error.filename}: " if error.filename else ""
        typer.secho(f"ostraka: {where}{error.strerror or type(error).__name__}; look at the disk", err=True, fg="red")
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()

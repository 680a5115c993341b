"""``ostraka verify-deleted``: whether what a receipt of a deletion states is so."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cli.options import Config, Data, settings_of
from core.clock import to_datetime
from core.records.control import open_control

if TYPE_CHECKING:
    from core.pipeline.verification import Verification


def verify_deleted(
    deletion_id: Annotated[str, typer.Argument(help="del_…, as the deletion answered.")],
    company: Annotated[str, typer.Option(help="Whose deletion it is.")] = "default",
    backup: Annotated[
        list[Path] | None, typer.Option(help="A backup to look at; repeat for more.", exists=True)
    ] = None,
    config: Config = None,
    data: Data = None,
) -> None:
    """Check a deletion: its rows, every stored shard, the opened ones, backups. Exit status 1 if anything is not so."""
    from core.pipeline.verification import verify_deletion  # noqa: PLC0415 - other commands need no index
    from core.shards.cache import ShardCache  # noqa: PLC0415

    settings = settings_of(config, data)
    control = open_control(settings)
    try:
        owner = control.find_company(company)
        bounds = settings.cache
        with ShardCache(bounds.path, control.root, bounds.bytes_max, allow_disk=bounds.allow_disk) as cache:
            found = verify_deletion(control, owner.id, cache, deletion_id, backup or [])
    finally:
        control.close()
    _show(found)
    if not found.holds:
        raise typer.Exit(1)


def _show(found: "Verification") -> None:
    receipt = found.receipt
    table = Table(title=f"{receipt.id}: {receipt.kind}, {receipt.rows} rows, {receipt.state}", title_justify="left")
    for heading in ("where", "as stated", "found", "gone by"):
        table.add_column(heading)
    for each in found.findings:
        until = "" if each.until is None else f"{to_datetime(each.until):%Y-%m-%d %H:%M:%S} UTC"
        table.add_row(escape(each.where), "yes" if each.holds else "NO", escape(each.detail), until)
    Console(soft_wrap=True).print(table)

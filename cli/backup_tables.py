"""What backups hold, as tables."""

from collections.abc import Sequence

from rich.console import Console
from rich.filesize import decimal
from rich.markup import escape
from rich.table import Table

from core.backup.header import Header
from core.backup.manifest import Manifest
from core.backup.shelf import Shelved
from core.clock import to_datetime


def show_header(console: Console, header: Header, size: int) -> None:
    """Print what anybody may know of a backup."""
    console.print(f"backup      {header.backup}")
    console.print(f"made        {to_datetime(header.created_at):%Y-%m-%d %H:%M:%S} UTC")
    console.print(f"store       {header.store}")
    console.print(f"needs key   {header.master_key}")
    console.print(f"companies   {header.companies}")
    console.print(f"bytes       {size} ({decimal(size)})")


def show_contents(console: Console, manifest: Manifest) -> None:
    """Print what a backup holds: companies and namespaces by their opaque ids."""
    table = Table("Company", "Namespace", "Generation", "Memories", "Rows", "Shards", "Bytes")
    for company in manifest.companies:
        for namespace in company.namespaces:
            shards = [shard for shard in company.shards if shard.namespace == namespace.id]
            size = sum(shard.bytes or 0 for shard in shards)
            missing = sum(shard.bytes is None for shard in shards)
            table.add_row(
                company.id,
                namespace.id,
                str(namespace.generation),
                str(namespace.memories),
                str(namespace.rows),
                f"{len(shards)} ({missing} to be built anew)" if missing else str(len(shards)),
                decimal(size),
            )
        table.add_row(company.id, "record store", "", "", "", "", decimal(company.records_bytes), end_section=True)
    console.print(table)


def show_shelf(console: Console, shelf: Sequence[Shelved]) -> None:
    """Print the backups of a folder, oldest first, with the generation of each namespace."""
    table = Table("Backup", "Made (UTC)", "Company", "Namespace", "Generation", "Memories")
    for each in shelf:
        made = f"{to_datetime(each.header.created_at):%Y-%m-%d %H:%M:%S}"
        if each.manifest is None:
            table.add_row(each.path.name, made, escape(each.fault), end_section=True)
            continue
        for company in each.manifest.companies:
            for namespace in company.namespaces:
                table.add_row(
                    each.path.name,
                    made,
                    escape(company.name),
                    escape(namespace.name),
                    str(namespace.generation),
                    str(namespace.memories),
                )
        table.add_section()
    console.print(table)

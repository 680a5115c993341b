"""Small stores to back up, without a model: memories that are accepted, and a shard that is only bytes."""

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from sqlalchemy import insert

from core.backup.creating import Backup, open_backup
from core.backup.header import Header
from core.backup.reading import BackupReader
from core.backup.snapshot import take_snapshot
from core.crypto.keys import MasterKey, new_file_key, wrap_backup_key
from core.ids import new_id
from core.memory import NewMemory
from core.records.companies import DEFAULT_COMPANY
from core.records.company import CompanyRecords
from core.records.control import ControlStore
from core.records.members import pack_ids
from core.records.tables import Lane, shards
from core.records.writes import WriteRequest, commit_writes
from core.shards.blobs import LocalBlobs
from core.shards.sealing import blob_name

SHARD = bytes(range(256)) * 40


def records_of(control: ControlStore, company: str = DEFAULT_COMPANY) -> CompanyRecords:
    return control.records(control.find_company(company).id)


def remember(records: CompanyRecords, namespace: str, *contents: str) -> None:
    request = WriteRequest(
        records.ensure_namespace(namespace), [NewMemory(content=content) for content in contents], Lane.INTERACTIVE
    )
    with records.database.write() as connection:
        commit_writes(connection, [request], records.clock())


def list_shard(records: CompanyRecords, namespace: str, *, stored: bytes | None = SHARD) -> str:
    """List a live shard and store its blob; the record store believes it to be ``SHARD``."""
    opened, shard = records.ensure_namespace(namespace), new_id("sh")
    if stored is not None:
        LocalBlobs(records.folder / "shards").put(blob_name(opened.public_id, shard), [stored])
    with records.database.write() as connection:
        connection.execute(
            insert(shards).values(
                public_id=shard,
                namespace_id=opened.id,
                tier=0,
                rows=1,
                bytes=len(SHARD),
                key_version=1,
                fingerprint="tiny:int8:0",
                generation=1,
                build_s=0.1,
                members=pack_ids([1]),
                created_at=0,
            )
        )
    return shard


def back_up(control: ControlStore, company: str | None = None) -> bytes:
    with open_backup(control, company) as backup:
        return b"".join(backup.chunks())


def back_up_falsely(control: ControlStore, falsify: Callable[[str], str]) -> bytes:
    """Return a backup whose manifest, as JSON, was changed before it was sealed."""
    backup, key = new_id("backup"), new_file_key()
    with take_snapshot(control, backup, None) as snapshot:
        text = snapshot.manifest.model_dump_json()
        false = type(snapshot.manifest).model_validate_json(falsify(text))
        assert false != snapshot.manifest
        header = Header(
            backup, 0, snapshot.store, control.master.key_id, 1, wrap_backup_key(control.master, backup, key)
        )
        made = Backup(header, key, replace(snapshot, manifest=false))
        return b"".join(made.chunks())


def opened(backup: bytes, master: MasterKey) -> BackupReader:
    return BackupReader(io.BytesIO(backup), lambda _: master)


def files_below(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}

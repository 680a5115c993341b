"""A snapshot of a running server: copies of its databases, and the shards they list kept from being collected.

The control store is copied first: what it knows of a record store is then never newer than the copy of that.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import orjson
from sqlalchemy import Row, delete, func, select, update

from core.audit.log import new_log
from core.backup.manifest import AUDIT_NAME, CONTROL_NAME, FORMAT, Manifest, SavedCompany, SavedNamespace, SavedShard
from core.backup.survey import figures, listed_shards, live_namespaces
from core.errors import NotFound, Unavailable
from core.records.companies import live_ids
from core.records.company import CompanyRecords
from core.records.control import ControlStore
from core.records.copying import edit_copy, read_copy, rewrite_copy
from core.records.filecopy import copy_to_file
from core.records.leases import drop_lease, renew_lease, take_lease
from core.records.tables import companies, company_keys, store
from core.records.tables import control as control_tables
from core.records.workplace import workplace
from core.shards.blobs import Blobs
from core.shards.sealing import blob_name

LEASE_PREFIX: Final = "backup-"  # while such a lease is held, no blob of the company is removed
_LEASE_US: Final = 3_600_000_000  # longer than copying one record store takes; one that died holds up the collector
_RENEW_US: Final = 1_200_000_000


@dataclass(frozen=True)
class Snapshot:
    """Copies in a folder laid out as a data directory, what they hold, and where the shards are."""

    folder: Path
    store: str
    master_key: str  # the id of the key that its control store is sealed with
    manifest: Manifest
    blobs: dict[str, Blobs]  # by company
    keep: Callable[[], None]  # to be called now and then while it is used


@contextmanager
def take_snapshot(control: ControlStore, backup: str, only: str | None) -> Iterator[Snapshot]:
    """Yield a snapshot of every company, or of ``only`` one (its id); it is removed afterwards.

    A company that is deleted meanwhile is left out. Raises ``NotFound`` where it is ``only``, ``Frozen`` while the
    server is frozen, ``Unavailable`` while another backup is made, when a key was rotated meanwhile, or when the disk
    is full.
    """
    control.audit.begin()
    with workplace(control.root) as folder, ExitStack() as held:
        copy_to_file(control.database, folder / CONTROL_NAME)
        if only is None:
            copy_to_file(control.audit.database, folder / AUDIT_NAME)  # it reaches its head in the control store
        with read_copy(folder / CONTROL_NAME) as connection:
            head = connection.execute(select(store.c.id, store.c.master_key_id)).one()
            ids = [company for company in live_ids(connection) if only in {None, company}]
        with control.reading() as (_, master):
            another = None if only is None else new_log(master, head.id)[1]  # the log is not in it
        leases: list[_Lease] = []

        def keep() -> None:
            for lease in leases:
                lease.keep()

        saved, blobs = [], {}
        for company in ids:
            try:
                name, records = control.company(company).name, control.records(company)
                leases.append(held.enter_context(_Lease(records, backup)))
                copied = _copy_company(records, control.depot.of(company), name, folder)
                _refuse_rotated(control, folder, company)
            except (NotFound, Unavailable):
                if only is not None or company in control.company_ids():
                    raise
                continue  # it was deleted while the backup began
            saved.append(copied)
            blobs[company] = control.depot.of(company)
            keep()
        _leave_out_others(folder / CONTROL_NAME, list(blobs), another)
        manifest = Manifest(
            format=FORMAT,
            control_bytes=(folder / CONTROL_NAME).stat().st_size,
            audit_bytes=(folder / AUDIT_NAME).stat().st_size if only is None else None,
            companies=saved,
        )
        yield Snapshot(folder, head.id, head.master_key_id, manifest, blobs, keep)


class _Lease:
    """Keeps the blobs of a company from being collected."""

    def __init__(self, records: CompanyRecords, backup: str) -> None:
        self._records = records
        self._name = f"{LEASE_PREFIX}{backup}"
        self._until = 0
        self._token = ""

    def __enter__(self) -> Self:
        now = self._records.clock()
        with self._records.database.write() as connection:
            token = take_lease(connection, self._name, now=now, lease_us=_LEASE_US)
        if token is None:
            raise Unavailable("this backup is being made already", code="backup_running")
        self._token, self._until = token, now + _LEASE_US
        return self

    def keep(self) -> None:
        """Renew the lease when a third of it has passed."""
        now = self._records.clock()
        if now < self._until - _LEASE_US + _RENEW_US:
            return
        with self._records.database.write(finishing=True) as connection:
            renew_lease(connection, self._name, self._token, now + _LEASE_US)
        self._until = now + _LEASE_US

    def __exit__(self, *_: object) -> None:
        with suppress(Unavailable), self._records.database.write(finishing=True) as connection:  # else it runs out
            drop_lease(connection, self._name, self._token)


def _copy_company(records: CompanyRecords, blobs: Blobs, name: str, folder: Path) -> SavedCompany:
    target = _records_copy(folder, records.company)
    target.parent.mkdir(parents=True)
    copy_to_file(records.database, target)
    with read_copy(target) as connection:
        counted = figures(connection)
        names = {
            row.public_id: orjson.loads(records.key.open(row.sealed, "namespace", row.public_id))["name"]
            for row in live_namespaces(connection)
        }
        listed = listed_shards(connection)
    return SavedCompany(
        id=records.company,
        name=name,
        records_bytes=target.stat().st_size,
        namespaces=[SavedNamespace(id=each, name=names[each], **found.__dict__) for each, found in counted.items()],
        shards=[
            SavedShard(namespace=row.namespace, id=row.public_id, bytes=_stored_bytes(blobs, row)) for row in listed
        ],
    )


def _stored_bytes(blobs: Blobs, row: Row[Any]) -> int | None:
    """Return the bytes of a listed shard, none when its blob is missing, in quarantine, or not as long as it was."""
    if row.quarantined_at is not None:
        return None
    expected: int = row.bytes
    return expected if blobs.size(blob_name(row.namespace, row.public_id)) == expected else None


def _leave_out_others(path: Path, ids: Sequence[str], another_log: dict[str, bytes] | None) -> None:
    """Keep nothing of other companies, deleted ones included, and have another audit log begin, if one is given."""
    with edit_copy(path) as connection:
        for table in reversed(control_tables.sorted_tables):
            column = table.c.get("company_id", table.c.id if table is companies else None)
            if column is not None:
                connection.execute(delete(table).where(column.not_in(ids)))
        if another_log:
            connection.execute(update(store).values(another_log))
    rewrite_copy(path)


def _refuse_rotated(control: ControlStore, folder: Path, company: str) -> None:
    """Raise ``Unavailable`` when the copy of a record store may need a key that the older copy of control.db lacks.

    A key seals as soon as control.db has it, before anything in the record store says so.
    """
    newest = select(func.max(company_keys.c.version)).where(company_keys.c.company_id == company)
    with read_copy(folder / CONTROL_NAME) as copy, control.database.read() as connection:
        if copy.execute(newest).scalar() != connection.execute(newest).scalar():
            raise Unavailable("a key was rotated while the backup began; make it again", code="rotated_meanwhile")


def _records_copy(folder: Path, company: str) -> Path:
    return folder / "companies" / company / "records.db"

"""Checking a receipt against everything in reach: the rows, every stored shard, the opened ones, and backups.

Nothing that the server has written down about its shards is believed: each file is opened and its ids are read.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Final

import numpy as np
import numpy.typing as npt
from sqlalchemy import ColumnElement, Connection, func, select

from core.backup.header import read_header
from core.errors import IntegrityError, Unavailable
from core.records.company import CompanyRecords
from core.records.control import ControlStore
from core.records.receipts import Kind, Receipt, get_receipt
from core.records.tables import State, memories, namespace_keys, namespaces, shards, store
from core.shards.arrays import map_array
from core.shards.blobs import Blobs
from core.shards.cache import ShardCache
from core.shards.sealing import ShardKeys, fetch_shard

Ids = npt.NDArray[np.int64]

_IDS_FILE: Final = "ids.npy"


@dataclass(frozen=True)
class Finding:
    """What was found in one place; ``holds``: it is as the receipt states. ``until``: what is left goes by then."""

    where: str
    holds: bool
    detail: str
    until: int | None = None


@dataclass(frozen=True)
class Verification:
    """A receipt and what was found."""

    receipt: Receipt
    findings: Sequence[Finding]

    @property
    def holds(self) -> bool:
        """Whether everything is as the receipt states."""
        return all(finding.holds for finding in self.findings)


def verify_deletion(
    control: ControlStore, company_id: str, cache: ShardCache, deletion_id: str, backups: Iterable[Path] = ()
) -> Verification:
    """Check a deletion. Raises ``NotFound``, ``IntegrityError``, and ``Unavailable`` when the cache is full."""
    records = control.records(company_id)
    with records.database.read() as connection:
        receipt = get_receipt(connection, deletion_id)
        rows = _check_rows(connection, receipt)
        erased = connection.execute(select(memories.c.id).where(memories.c.deletion_id == receipt.row)).scalars()
        ids = np.fromiter(erased, np.int64)
    look = _Look(records, control.depot.of(company_id), receipt, ids, cache, late=_is_late(receipt, control.clock()))
    foreign = _listed_elsewhere(control, company_id)
    copies = [_check_backup(control, receipt, path) for path in backups] or [Finding("backups", True, "none looked at")]
    return Verification(
        receipt, [rows, *look.stored(), look.opened(foreign), _check_upgrades(records, receipt), *copies]
    )


@dataclass(frozen=True)
class _Look:
    """A search for the rows of one deletion in files; ``late``: nothing of them may be left."""

    records: CompanyRecords
    blobs: Blobs
    receipt: Receipt
    ids: Ids
    cache: ShardCache
    late: bool

    def stored(self) -> Iterator[Finding]:
        """Look into every file that the blob store has of the namespace."""
        with self.records.database.read() as connection:
            namespace = select(namespaces.c.public_id).where(namespaces.c.id == self.receipt.namespace_id)
            prefix = f"{connection.execute(namespace).scalar_one()}/"
            listed = select(shards.c.public_id, shards.c.retired_at).where(
                shards.c.namespace_id == self.receipt.namespace_id
            )
            live = {row.public_id: row.retired_at is None for row in connection.execute(listed)}
        key = None
        if not self.receipt.namespace_deleted:
            key = self.records.namespace_by_id(self.receipt.namespace_id).key
        files = [PurePath(file.name) for file in self.blobs.files() if file.name.startswith(prefix)]
        kinds = {file: live.get(file.stem) if file.suffix == ".shard" else None for file in files}
        for where, kind in (("index shards", True), ("replaced shard files", False), ("unlisted shard files", None)):
            mine = [file for file, found in kinds.items() if found is kind]
            yield self._finding(where, [self._ids_of(key, file) for file in mine])

    def opened(self, foreign: set[str]) -> Finding:
        """Look into the shards that lie opened in the host's memory, but for those of other companies."""
        folders = [folder for folder in (self.cache.root / "shards").iterdir() if folder.name not in foreign]
        return self._finding("opened shards", [_read_ids(folder) for folder in folders])

    def _ids_of(self, key: ShardKeys | None, file: PurePath) -> Ids | None:
        """Return the ids in a stored shard, ``None`` when it does not open."""
        if key is None or file.suffix != ".shard":
            return None
        with self.cache.workspace() as workspace:
            folder = workspace / "shard"
            folder.mkdir()
            try:
                fetch_shard(self.blobs, key, file.stem, folder)
                return _read_ids(folder)
            except IntegrityError as error:
                return np.empty(0, np.int64) if error.reason == "shard_missing" else None
            except Unavailable:
                return None
            except OSError as error:
                raise Unavailable(
                    f"the shard cache cannot be written: {error.strerror}; enlarge the tmpfs of [cache] path",
                    code="cache_full",
                ) from None

    def _finding(self, where: str, files: Sequence[Ids | None]) -> Finding:
        shut = sum(1 for ids in files if ids is None)
        holding = sum(1 for ids in files if ids is not None and np.isin(ids, self.ids).any())
        detail = f"{len(files)} looked at, {holding} hold rows of it"
        if shut:
            detail += f", {shut} cannot be opened" + (": the key is destroyed" * self.receipt.namespace_deleted)
        left = bool(shut or holding)
        return Finding(where, not (left and self.late), detail, self.receipt.purge_due_at if left else None)


def _is_late(receipt: Receipt, now: int) -> bool:
    return receipt.purged_at is not None or now > receipt.purge_due_at


def _check_rows(connection: Connection, receipt: Receipt) -> Finding:
    """See that the rows hold nothing that was sealed, and are as many as were counted."""
    mine = memories.c.deletion_id == receipt.row
    full = (
        (memories.c.state != State.DELETED)
        | memories.c.sealed.is_not(None)
        | memories.c.sealed_vectors.is_not(None)
        | memories.c.session.is_not(None)
    )

    def count(condition: ColumnElement[bool]) -> int:
        return connection.execute(select(func.count()).select_from(memories).where(condition)).scalar_one()

    rows, left = count(mine), count(mine & full)
    detail = f"{rows} of {receipt.rows} rows, {left} still hold something"
    if receipt.kind is not Kind.NAMESPACE:
        return Finding("record store", rows == receipt.rows and not left, detail)
    keys = select(func.count()).where(namespace_keys.c.namespace_id == receipt.namespace_id)
    kept = connection.execute(keys).scalar_one()
    return Finding("record store", rows == receipt.rows and not left and not kept, f"{detail}; {kept} keys")


def _read_ids(folder: Path) -> Ids:
    try:
        return map_array(folder / _IDS_FILE)
    except FileNotFoundError:  # evicted meanwhile
        return np.empty(0, np.int64)


def _listed_elsewhere(control: ControlStore, company_id: str) -> set[str]:
    """Return the shards of other companies: their row numbers are not ours."""
    found: set[str] = set()
    for company in control.companies():
        if company.id != company_id:
            with control.records(company.id).database.read() as connection:
                found.update(connection.execute(select(shards.c.public_id)).scalars())
    return found


def _check_upgrades(records: CompanyRecords, receipt: Receipt) -> Finding:
    """Say whether a copy of the record store of before an upgrade may hold what was deleted."""
    made = [path.stat().st_mtime_ns // 1_000 for path in records.database.copies()]
    older = sum(at <= (receipt.finished_at or at) for at in made)
    detail = f"{older} made before: may hold it, sealed; remove what you do not need" if older else "none that holds it"
    return Finding("copies of before an upgrade", True, detail)


def _check_backup(control: ControlStore, receipt: Receipt, path: Path) -> Finding:
    """Say what a backup holds of a deletion, by when it was made. Raises ``IntegrityError`` when it is no backup."""
    with path.open("rb") as source:
        header, _ = read_header(source)
    with control.database.read() as connection:
        ours = connection.execute(select(store.c.id)).scalar_one()
    where = f"backup {path.name}"
    if header.store != ours:
        return Finding(where, True, "of another server")
    if receipt.finished_at is None or header.created_at <= receipt.finished_at:
        return Finding(where, True, f"made before: may hold it, sealed; master key {header.master_key} opens it")
    if receipt.purged_at is None or header.created_at <= receipt.purged_at:
        return Finding(where, True, "made before its shards were purged: they may hold terms and vectors, sealed")
    return Finding(where, True, "made after the index files were free of it")

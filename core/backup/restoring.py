"""Restoring a whole store into an empty directory, and verifying a backup, which is the same short of that."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import delete

from core.backup.manifest import AUDIT_NAME, CONTROL_NAME, Manifest, is_shard, place_of
from core.backup.reading import BackupReader
from core.backup.survey import check_copies
from core.clock import Clock, now_us
from core.crypto.keysource import HeldKey
from core.durability import make_durable_directory, sync
from core.errors import Conflict
from core.ids import new_id
from core.records.adoption import adopt_earlier
from core.records.control import ControlStore
from core.records.copying import edit_copy
from core.records.frozen import Freeze, write_freeze
from core.records.moving import Origin, bring, origin_of, publish, refuse_occupied
from core.records.places import FilePlace, Place
from core.records.tables import leases
from core.settings import Storage
from core.shards.depot import Depot, LocalDepot


def verify(backup: BackupReader) -> None:
    """Authenticate every byte and compare the contents with the manifest. No plaintext is written, no row opened.

    Raises ``IntegrityError`` when anything is wrong.
    """
    with tempfile.TemporaryDirectory(prefix="ostraka-verify-") as folder:
        unpack(backup, Path(folder), with_shards=False)


def restore_directory(
    backup: BackupReader, target: Path, place: Place | None = None, depot: Depot | None = None
) -> None:
    """Make the data directory ``target`` from a backup; it appears at once, and only if all of the backup is right.

    With a ``place`` the record store goes there, with a ``depot`` the shards, once all is right: what lies there must
    be the same. A freeze and the leases of the moment it was made at are not restored. Raises ``Conflict`` unless
    ``target`` is empty or not there, or when it is a mount point, or when ``place`` holds a store; ``IntegrityError``
    when the backup is damaged; ``Unavailable``.
    """
    target = target.absolute()
    if place is not None:
        refuse_occupied(place, backup.header.store)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise Conflict(f"{target} is not an empty directory; name another, or move what is there away", field="data")
    if target.is_mount():
        raise Conflict(
            f"{target} is a mount point, nothing can be moved into its place; name a folder in it", field="data"
        )
    make_durable_directory(target.parent)
    folder = target.with_name(f".{target.name}.{new_id('restore')}")
    folder.mkdir(mode=0o700)
    try:
        unpack(backup, folder, with_shards=True)
        _begin_anew(folder, [company.id for company in backup.manifest.companies])
        if depot is not None:
            _hand_over(backup.manifest, folder, depot)
        origin = None if place is None else _bring(backup, folder, place)
        for path in (*(path for path in folder.rglob("*") if path.is_dir()), folder):
            sync(path)
        if target.exists():
            target.rmdir()
        folder.rename(target)
        sync(target.parent)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    if place is not None and origin is not None:  # last: a store whose shards are missing would build them anew
        publish(origin, place)


def unpack(backup: BackupReader, folder: Path, *, with_shards: bool) -> None:
    """Write a backup's files, sealed as they are, and check them against its manifest. Raises ``IntegrityError``."""
    for entry, chunks in backup.files():
        if is_shard(entry.name) and not with_shards:
            for _ in chunks:
                pass
            continue
        path = place_of(entry.name, folder)
        make_durable_directory(path.parent)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
            for chunk in chunks:
                out.write(chunk)
            out.flush()
            os.fsync(out.fileno())
    check_copies(folder, backup.manifest, backup.header.store)


@contextmanager
def opened_folder(
    backup: BackupReader, folder: Path, clock: Clock = now_us, storage: Storage | None = None
) -> Iterator[ControlStore]:
    """Yield the store that was unpacked into a folder, brought up to date."""
    place = FilePlace(folder)
    database = place.open("control", clock)
    adopt_earlier(database, backup.master)
    held = HeldKey(backup.master, f"what opened {backup.header.backup}")
    opened = ControlStore(place, database, backup.master, held, clock, storage or Storage(path=folder))
    try:
        yield opened
    finally:
        opened.close()


def _bring(backup: BackupReader, folder: Path, place: Place) -> Origin:
    """Bring the record store of a folder to its place, and leave the shards alone in the folder."""
    with opened_folder(backup, folder) as control:
        origin = origin_of(control, new_id("restore"))
        bring(origin, place)
    for path in folder.rglob("*"):
        if path.is_file() and not is_shard(path.name):
            path.unlink()
    return origin


def _hand_over(manifest: Manifest, folder: Path, depot: Depot) -> None:
    """Move the shards of a restored directory to where the server will look for them."""
    here = LocalDepot(folder)
    for company in manifest.companies:
        for name in here.names(company.id):
            depot.of(company.id).put(name, here.of(company.id).get(name))
        here.remove(company.id)


def _begin_anew(folder: Path, company_ids: list[str]) -> None:
    """End what belonged to processes that do not work on this directory."""
    with edit_copy(folder / CONTROL_NAME) as connection:
        write_freeze(connection, "control", Freeze(), 0)
    if (folder / AUDIT_NAME).exists():
        with edit_copy(folder / AUDIT_NAME) as connection:
            write_freeze(connection, "audit", Freeze(), 0)
    for company in company_ids:
        with edit_copy(folder / "companies" / company / "records.db") as connection:
            write_freeze(connection, "company", Freeze(), 0)
            connection.execute(delete(leases))

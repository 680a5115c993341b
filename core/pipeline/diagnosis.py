"""A close look at a data directory, for its operator: each check is a finding with a verdict, none stops the others.

Nothing is repaired. It may go on beside a running server, so what is just being written or collected is no fault.
"""

import os
import shutil
import sqlite3
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from sqlalchemy import Connection, select
from sqlalchemy.exc import SQLAlchemyError

from core.errors import OstrakaError
from core.pipeline.readiness import queue_of
from core.records.backlog import due_heads, oldest_pending_at
from core.records.company import CompanyRecords
from core.records.control import ControlStore
from core.records.keycheck import check_keys
from core.records.ledger import Balance, public_ids
from core.records.places import Place
from core.records.schema import HEADS, Kind
from core.records.shardlist import fingerprints
from core.records.tables import Lane, State, namespaces, shards
from core.shards.blobs import Blobs
from core.shards.cache import in_memory
from core.shards.depot import Depot
from core.shards.sealing import blob_name


class Verdict(StrEnum):
    """How a check came out."""

    OK = "ok"
    DEGRADED = "degraded"  # everything is answered yet; look into it
    FAILED = "failed"


@dataclass(frozen=True)
class Finding:
    """What one check found; ``detail`` names companies, namespaces and shards by their opaque ids."""

    check: str
    verdict: Verdict
    detail: str


def found(check: str, detail: str, *, degraded: bool = False, failed: bool = False) -> Finding:
    """Return a finding that is well unless told otherwise."""
    return Finding(check, Verdict.FAILED if failed else Verdict.DEGRADED if degraded else Verdict.OK, detail)


def attempt(check: str, look: Callable[[], Finding]) -> Finding:
    """Return what a look finds; one that cannot be taken is a finding too."""
    try:
        return look()
    except OstrakaError as error:
        return Finding(check, Verdict.FAILED, error.message)
    except (SQLAlchemyError, sqlite3.Error, OSError) as error:
        return Finding(check, Verdict.FAILED, f"cannot be looked at: {type(error).__name__}")


def look_at_directory(root: Path) -> Finding:
    """Judge who may enter the data directory."""
    status = root.stat()
    mode = stat.S_IMODE(status.st_mode)
    if status.st_uid != os.getuid():
        return found("data directory", f"{root} belongs to user {status.st_uid}, not to you; chown it", failed=True)
    if mode & 0o077:
        return found("data directory", f"{root} can be entered by others (mode {mode:o}); chmod 700 it", degraded=True)
    return found("data directory", f"{root}, mode {mode:o}")


def look_at_disk(root: Path, free_bytes_min: int) -> Finding:
    """Judge how much room the disk has left."""
    free = shutil.disk_usage(root).free
    low = free < free_bytes_min
    return found("disk", f"{_megabytes(free)} free; writes need {_megabytes(free_bytes_min)}", failed=low)


def look_at_cache(path: Path, bytes_max: int, *, allow_disk: bool) -> Finding:
    """Judge the place of opened shards."""
    if not path.is_dir():
        return found("cache", f"[cache] path: there is no directory {path}", failed=True)
    free = shutil.disk_usage(path).free
    if not in_memory(path):
        detail = f"{path} is no tmpfs: opened shards lie on a disk in the clear"
        return found("cache", detail, degraded=allow_disk, failed=not allow_disk)
    detail = f"{path} is a tmpfs, {_megabytes(free)} free; opened shards may take {_megabytes(bytes_max)}"
    return found("cache", detail, degraded=free < bytes_max // 8)


def look_at_schema(place: Place, kind: Kind, company: str = "") -> Finding:
    """Judge whether this server can read a database without changing it first."""
    check, wanted = f"schema of {kind}", HEADS[kind]
    version = place.revision(kind, company) or "none"
    detail = wanted if version == wanted else f"{version}, this version of Ostraka has {wanted}"
    return found(check, detail, failed=version != wanted)


def look_at_database(records: CompanyRecords) -> Finding:
    """Let the database check its own pages."""
    with records.database.read() as connection:
        if connection.dialect.name != "sqlite":
            return found("record store", "checked by its own server")
        said = [str(row[0]) for row in connection.exec_driver_sql("PRAGMA quick_check(3)")]
    return found("record store", "; ".join(said), failed=said != ["ok"])


def look_at_keys(control: ControlStore, records: CompanyRecords) -> Finding:
    """Open the key of the company, and of every namespace."""
    return found("keys", f"of {check_keys(control, records)} namespaces open")


def look_at_ledger(balances: Mapping[str, Balance]) -> Finding:
    """Judge whether everything accepted is accounted for; ``balances`` are those of namespaces, by id."""
    accepted = sum(balance.accepted for balance in balances.values())
    off = [f"{name}: {balance.imbalance}" for name, balance in balances.items() if balance.imbalance]
    if off:
        return found("ledger", f"{accepted} accepted; not accounted for are, in {', '.join(off[:5])}", failed=True)
    return found("ledger", f"{accepted} accepted, each accounted for")


def look_at_failures(balance: Balance) -> Finding:
    """Judge whether memories wait for somebody to decide."""
    failed = balance.places[State.FAILED]
    return found("failed memories", f"{failed}; see `ostraka failures list`" if failed else "none", degraded=failed > 0)


def look_at_queues(records: CompanyRecords, stalled_s: float) -> Finding:
    """Judge how long memories have waited, and whether anybody is at work."""
    now = records.clock()
    with records.database.read() as connection:
        oldest = [at for lane in Lane if (at := oldest_pending_at(connection, lane)) is not None]
        heads = due_heads(connection, now)
    ages = [(queue_of(head), (now - head.accepted_at) / 1e6) for head in heads]
    idle = sorted({queue for (queue, meant_s), age_s in ages if age_s - meant_s > stalled_s})
    waited = (
        f"the oldest memory to be embedded has waited {(now - min(oldest)) / 1e6:.0f} s" if oldest else "none waits"
    )
    frozen = "; the server is frozen" if records.database.frozen else ""
    if idle and not frozen:
        return found("queues", f"{waited}; nobody takes up what waits in {', '.join(idle)}", degraded=True)
    return found("queues", waited + frozen)


def look_at_depot(depot: Depot) -> Finding:
    """See whether the place of the index files can be reached."""
    depot.check()
    return found("index files", f"in {depot.where}")


def look_at_shards(records: CompanyRecords, blobs: Blobs) -> Finding:
    """Compare the shards that are listed with the files that are there."""
    there = {file.name: file.size for file in blobs.files()}  # before the list: what is stored meanwhile is not on it
    with records.database.read() as connection:
        rows = connection.execute(
            select(shards.c.public_id, shards.c.bytes, shards.c.quarantined_at, shards.c.retired_at)
            .add_columns(namespaces.c.public_id.label("namespace"))
            .join(namespaces, namespaces.c.id == shards.c.namespace_id)
        ).all()
    names = {blob_name(row.namespace, row.public_id): row for row in rows}
    live = {name: row for name, row in names.items() if row.retired_at is None}
    damaged = [
        row.public_id
        for name, row in live.items()
        if there.get(name) != row.bytes and blobs.size(name) != row.bytes  # it may have been stored since
    ]
    marked = sum(row.quarantined_at is not None for row in live.values())
    detail = (
        f"{len(live)} live, {len(there.keys() - names.keys())} files that nobody lists (they are removed by and by)"
    )
    if damaged:
        return found("shards", f"{detail}; missing or of the wrong size: {', '.join(damaged[:5])}", failed=True)
    if marked:
        return found("shards", f"{detail}; {marked} in quarantine, being built anew", degraded=True)
    return found("shards", detail)


def look_at_models(records: CompanyRecords, fingerprint: str) -> Finding:
    """Judge whether every namespace was embedded with the configured model."""
    with records.database.read() as connection:
        others = list(_others(connection, fingerprint))
    if others:
        detail = f"configured is {fingerprint}; other models: {', '.join(others[:5])}"
        return found("model", f"{detail}; the server will not start", failed=True)
    return found("model", f"{fingerprint} everywhere")


def _others(connection: Connection, fingerprint: str) -> Iterator[str]:
    for namespace, public_id in public_ids(connection).items():
        for other in sorted(fingerprints(connection, namespace) - {fingerprint}):
            yield f"{public_id} {other}"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.0f} MB"

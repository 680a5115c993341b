"""The audit log: entries that are only ever added, each linked to the one before by an HMAC.

    link of entry n := HMAC-SHA256(chain key, link of n - 1 | n | sealed entry)

Where the chain ends, the *head*, is kept sealed in the control store, so that a log that was cut is noticed; where it
begins, once old entries were pruned, the *base*, is kept in the log. A log that ends before its head was put back or
cut: it goes on behind the head, and the gap stays visible.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, Final, NamedTuple, Protocol

from sqlalchemy import ColumnElement, Connection, Row, delete, func, insert, select, update

from core.audit.events import DAMAGED, Event, parse_event
from core.clock import Clock, to_datetime, to_us
from core.crypto.auditkey import LINK_BYTES, AuditKey, new_audit_secret, unwrap_audit_key, wrap_audit_key
from core.crypto.keys import MasterKey
from core.errors import IntegrityError, Unavailable
from core.records.adoption import is_adopted
from core.records.audittables import chain, entries
from core.records.engine import Database
from core.records.places import Place
from core.records.tables import store

_PAGE_ROWS: Final = 2_000  # read for one page, however few of them are wanted
_PRUNED_ROWS: Final = 5_000  # in one transaction
_SEQ_BYTES: Final = 8


class _Control(Protocol):
    """What the log asks of the control store."""

    database: Database
    clock: Clock

    def reading(self) -> AbstractContextManager[tuple[Connection, MasterKey]]: ...

    def writing(self, *, finishing: bool = False) -> AbstractContextManager[tuple[Connection, MasterKey]]: ...


class Mark(NamedTuple):
    """A place in the chain: an entry's number and link. The first entry is number 1."""

    seq: int = 0
    link: bytes = bytes(LINK_BYTES)


@dataclass(frozen=True)
class Entry:
    """An entry as it is read; the event is ``DAMAGED`` where its bytes were changed."""

    seq: int
    at: int
    company: str | None
    event: Event

    @property
    def damaged(self) -> bool:
        """Whether it is not what was written."""
        return self.event is DAMAGED


@dataclass(frozen=True)
class Page:
    """Entries, newest first; those wanted behind them are before ``next_before``, if it is not ``None``."""

    entries: list[Entry]
    next_before: int | None


class AuditLog:
    """The log of one store. Any number of processes may append: the writer's lock keeps one chain."""

    def __init__(self, database: Database, control: _Control) -> None:
        self.database = database
        self._control = control

    @cached_property
    def key(self) -> AuditKey:
        """The log's key. Raises ``IntegrityError`` when it is gone or was changed."""
        with self._control.reading() as (connection, master):
            found = _find_key(connection, master)
        if found is None:  # of an earlier version, perhaps
            with self._control.writing(finishing=True) as (connection, master):
                found = _find_key(connection, master) or self.make_key(connection, master)
        return found

    def begin(self) -> None:
        """Make sure that the log has its key. Raises ``Frozen``, ``Unavailable``, ``IntegrityError``."""
        _ = self.key

    def make_key(self, connection: Connection, master: MasterKey) -> AuditKey:
        """Make the log's key, once. Raises ``IntegrityError`` where there was one before.

        A new store makes it before its first company, one of an earlier version before its companies are adopted. So
        where one has been, there was a key: nobody begins another log by taking it away.
        """
        with self.database.read() as log:
            begun = log.execute(select(entries.c.seq).limit(1)).first() is not None
        if begun or is_adopted(connection, master):
            raise IntegrityError(
                "control.db no longer has the key of the audit log: put the control.db back that belongs to it, or "
                "restore a backup"
            )
        store_id = connection.execute(select(store.c.id)).scalar_one()
        key, values = new_log(master, store_id)
        connection.execute(update(store).values(values))
        return key

    def append(self, events: Sequence[Event]) -> None:
        """Add entries; they are durable when this returns. Raises ``Frozen``, ``Unavailable``, ``IntegrityError``."""
        key, now, head = self.key, self._control.clock(), self.head()
        with self.database.write(finishing=True) as connection:
            end = max(head, self.end(connection))
            rows = []
            for event in events:
                seq = end.seq + 1
                sealed = key.seal(event.to_bytes(), "entry", seq, now, event.company or "")
                end = Mark(seq, key.link(end.link, seq, sealed))
                rows.append({"seq": seq, "at": now, "company_id": event.company, "sealed": sealed, "link": end.link})
            connection.execute(insert(entries), rows)
        with suppress(Unavailable):  # it lags behind then, and moves with the next entry
            self.advance_head()

    def page(
        self,
        *,
        before: int | None = None,
        since: int | None = None,
        company: str | None = None,
        action: str | None = None,
        limit: int,
    ) -> Page:
        """Return the newest entries before an entry, of a time on, of a company, of an action.

        What is read for a page is bounded; it may hold fewer than there are, or none, and say where to go on.
        """
        query = select(entries).order_by(entries.c.seq.desc()).limit(_PAGE_ROWS)
        if before is not None:
            query = query.where(entries.c.seq < before)
        if company is not None:
            query = query.where(entries.c.company_id == company)
        with self.database.read() as connection:
            first = 0 if since is None else _first_since(connection, since)
            if first is None:
                return Page([], None)
            rows = connection.execute(query.where(entries.c.seq >= first)).all()
        found = []
        for row in rows:
            if since is not None and row.at < since:  # the clock was set back
                continue
            entry = self.read_entry(row)
            if action is None or entry.damaged or entry.event.action == action:
                found.append(entry)
            if len(found) == limit:
                return Page(found, row.seq)
        return Page(found, rows[-1].seq if len(rows) == _PAGE_ROWS else None)

    def read_entry(self, row: Row[Any]) -> Entry:
        """Return the entry of a row; it is damaged when it does not open where it lies."""
        key = self.key
        try:
            event = parse_event(key.open(row.sealed, "entry", row.seq, row.at, row.company_id or ""))
        except IntegrityError:
            event = DAMAGED
        return Entry(row.seq, row.at, row.company_id, event)

    def newest_at(self) -> int | None:
        """Return when the last entry was written; ``None`` if there is none. Raises ``Unavailable``."""
        with self.database.read() as connection:
            return _at_of(connection, entries.c.seq.desc())

    def prune(self, keep_days: int, now: int) -> int:
        """Remove the entries of the oldest day, if it is over for more than ``keep_days``; return how many.

        One day at a time: somebody is to notice what a wrong ``now`` does. 0 days keep all.
        """
        with self.database.read() as connection:
            oldest = _at_of(connection, entries.c.seq)
        if keep_days == 0 or oldest is None:
            return 0
        limit = min(_midnight(now) - timedelta(days=keep_days), _midnight(oldest) + timedelta(days=1))
        total = 0
        while pruned := self._prune_some(to_us(limit)):
            total += pruned
        return total

    def head(self) -> Mark:
        """Return how far the log had come when it was last noted. Raises ``IntegrityError``."""
        self.begin()
        with self._control.database.read() as connection:
            return self._read_head(connection)

    def advance_head(self) -> None:
        """Note how far the log has come. Raises ``Frozen``, ``Unavailable``, ``IntegrityError``."""
        with self.database.read() as connection:
            end = self.end(connection)
        if end.seq <= self.head().seq:
            return
        with self._control.database.write(finishing=True) as connection:
            if self._read_head(connection).seq < end.seq:  # another process may have come further
                connection.execute(update(store).values(sealed_audit=_sealed(self.key, end, "head")))

    def base(self, connection: Connection) -> Mark:
        """Return the mark that the chain begins behind. Raises ``IntegrityError``."""
        sealed = connection.execute(select(chain.c.sealed_base)).scalar()
        return Mark() if sealed is None else _opened(self.key, sealed, "base")

    def end(self, connection: Connection) -> Mark:
        """Return the mark of the last entry."""
        last = connection.execute(select(entries.c.seq, entries.c.link).order_by(entries.c.seq.desc()).limit(1)).first()
        return self.base(connection) if last is None else Mark(last.seq, last.link)

    def close(self) -> None:
        """Close the database."""
        self.database.close()

    def _prune_some(self, limit: int) -> int:
        with self.database.write() as connection:
            columns = (entries.c.seq, entries.c.at, entries.c.link)
            oldest = connection.execute(select(*columns).order_by(entries.c.seq).limit(_PRUNED_ROWS)).all()
            over = next((number for number, row in enumerate(oldest) if row.at >= limit), len(oldest))
            if over == 0:
                return 0
            last = Mark(oldest[over - 1].seq, oldest[over - 1].link)
            connection.execute(delete(entries).where(entries.c.seq <= last.seq))
            connection.execute(update(chain).values(sealed_base=_sealed(self.key, last, "base")))
        return over

    def _read_head(self, connection: Connection) -> Mark:
        sealed = connection.execute(select(store.c.sealed_audit)).scalar()
        if sealed is None:
            raise IntegrityError(
                "control.db no longer says how far the audit log had come: put a sound control.db back"
            )
        return _opened(self.key, sealed, "head")


def open_audit_log(place: Place, control: _Control) -> AuditLog:
    """Open the audit log of a server, made if it is not there. Raises ``ConfigurationError``, ``Unavailable``."""
    return AuditLog(place.open("audit", control.clock), control)


def new_log(master: MasterKey, store_id: str) -> tuple[AuditKey, dict[str, bytes]]:
    """Return the key of a log without entries, and what ``store`` holds of it."""
    secret = new_audit_secret()
    key = AuditKey(secret)
    wrapped = wrap_audit_key(master, store_id, secret)
    return key, {"sealed_audit_key": wrapped, "sealed_audit": _sealed(key, Mark(), "head")}


def _find_key(connection: Connection, master: MasterKey) -> AuditKey | None:
    row = connection.execute(select(store.c.id, store.c.sealed_audit_key)).one()
    return unwrap_audit_key(master, row.id, row.sealed_audit_key) if row.sealed_audit_key else None


def _first_since(connection: Connection, since: int) -> int | None:
    """Return the first entry of a time on, by the index alone: times are not in order where a clock was set back."""
    first: int | None = connection.execute(select(func.min(entries.c.seq)).where(entries.c.at >= since)).scalar()
    return first


def _at_of(connection: Connection, order: ColumnElement[int]) -> int | None:
    """Return the time of the first entry in an order."""
    at: int | None = connection.execute(select(entries.c.at).order_by(order).limit(1)).scalar()
    return at


def _midnight(at: int) -> datetime:
    return to_datetime(at).astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def _sealed(key: AuditKey, mark: Mark, kind: str) -> bytes:
    return key.seal(mark.seq.to_bytes(_SEQ_BYTES) + mark.link, kind)


def _opened(key: AuditKey, sealed: bytes, kind: str) -> Mark:
    value = key.open(sealed, kind)
    return Mark(int.from_bytes(value[:_SEQ_BYTES]), value[_SEQ_BYTES:])

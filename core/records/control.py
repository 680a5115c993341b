"""The control store: which store this is, its companies and their wrapped keys."""

import math
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from functools import partial
from typing import Final

import structlog
from sqlalchemy import Connection, insert, select
from sqlalchemy.exc import SQLAlchemyError

from core.audit.log import open_audit_log
from core.clock import Clock, now_us
from core.crypto.keyring import CompanyKeys
from core.crypto.keys import CompanyKey, MasterKey, unwrap_company_key
from core.crypto.keysource import KeySource, open_key_source
from core.durability import make_durable_directory
from core.errors import ConfigurationError, Frozen, IntegrityError, NotFound, OstrakaError, Unavailable
from core.ids import new_id
from core.records.adoption import adopt_earlier
from core.records.anchors import check_anchor, epoch_of, read_anchor, write_anchor
from core.records.arriving import arriving
from core.records.companies import DEFAULT_COMPANY, Company, insert_company, list_all, live_ids, with_id, with_name
from core.records.company import CompanyRecords
from core.records.engine import Database
from core.records.erasure import settle_erased
from core.records.folders import company_folder
from core.records.masterkey import make_first_key, master_key_of
from core.records.places import Place, open_place
from core.records.states import seal_states
from core.records.tables import company_keys, store
from core.records.terms import NO_BOUNDS, Terms, read_terms
from core.settings import Settings, Storage
from core.shards.depot import open_depot

_LOOKS_MAX: Final = 3  # at the master key, for one transaction: it would have to be rotated that often meanwhile
_TRUST_S: Final = 0.5  # terms that changed hold within this time in every process

log = structlog.get_logger()


class ControlStore:
    """Companies and keys. Opens each company's own record store with the key that the master key unwraps."""

    def __init__(
        self, place: Place, database: Database, master: MasterKey, key_source: KeySource, clock: Clock, storage: Storage
    ) -> None:
        """``key_source`` is asked for the new master key when it was rotated."""
        self.place = place
        self.database = database
        self.master = master
        self.key_source = key_source
        self.root = place.root
        self.clock = clock
        self.storage, self.depot = storage, open_depot(storage, place.root)
        self._opened: dict[str, CompanyRecords] = {}
        self._opening = threading.Lock()
        self._terms: dict[str, tuple[float, Terms]] = {}
        self.audit = open_audit_log(place, self)

    @contextmanager
    def reading(self) -> Iterator[tuple[Connection, MasterKey]]:
        """Yield a read transaction, and the master key that its values are sealed with.

        Raises ``ConfigurationError`` when the master key was rotated and the new one is not to be had, ``Unavailable``.
        """
        with self._with_master(self.database.read) as both:
            yield both

    @contextmanager
    def writing(self, *, finishing: bool = False) -> Iterator[tuple[Connection, MasterKey]]:
        """Yield a write transaction likewise. Raises as :meth:`reading` and ``Database.write`` do."""
        with self._with_master(partial(self.database.write, finishing=finishing)) as both:
            yield both

    def companies(self) -> list[Company]:
        """Return every company, oldest first. Raises ``IntegrityError`` when a name or terms were tampered with."""
        with self.reading() as (connection, master):
            return list_all(connection, master)

    def company_ids(self) -> list[str]:
        """Return the id of every company, oldest first; no name is opened."""
        with self.database.read() as connection:
            return live_ids(connection)

    def create_company(self, name: str, terms: Terms = NO_BOUNDS) -> Company:
        """Create a company with its own key. Raises ``Conflict`` when the name is taken."""
        with self.writing() as (connection, master):
            return insert_company(connection, master, name, terms, self.clock())

    def company(self, company_id: str) -> Company:
        """Return a company by its id. Raises ``NotFound``, ``IntegrityError``."""
        with self.reading() as (connection, master):
            return with_id(connection, master, company_id)

    def find_company(self, name: str) -> Company:
        """Return the company of that name. Raises ``NotFound``, ``IntegrityError``."""
        with self.reading() as (connection, master):
            return with_name(connection, master, name)

    def terms(self, company_id: str, age_s_max: float = _TRUST_S) -> Terms:
        """Return a company's terms, as they were ``age_s_max`` ago at most. Raises ``NotFound``, ``IntegrityError``."""
        now = time.monotonic()
        read_at, terms = self._terms.get(company_id, (-math.inf, None))
        if terms is None or now - read_at >= age_s_max:
            with self.reading() as (connection, master):
                terms = read_terms(connection, master, company_id)
            self._terms[company_id] = now, terms
        return terms

    def records(self, company_id: str) -> CompanyRecords:
        """Return the open record store of a company. Raises ``NotFound``, ``IntegrityError``."""
        with self._opening:
            if company_id not in self._opened:
                self._opened[company_id] = self._open(company_id)
            return self._opened[company_id]

    def opened(self) -> list[str]:
        """Return the ids of the companies whose record stores this process has open."""
        with self._opening:
            return list(self._opened)

    def let_go(self, company_id: str) -> None:
        """Close the record store of a company that was deleted, and forget its key."""
        with self._opening:
            records = self._opened.pop(company_id, None)
        self._terms.pop(company_id, None)
        if records is not None:
            records.database.close()

    def anchor(self, company_id: str) -> bool:
        """Let a company's anchor follow its record store; return whether it moved. Raises ``Unavailable``."""
        return self._advance_anchor(company_id, epoch_of(self.records(company_id).database))

    def accept_rollback(self, company_id: str) -> None:
        """Take a company's record store as it is, though older than its anchor. Raises ``NotFound``."""
        records = self._open_unchecked(company_id)
        try:
            records.accept_states()
            found = epoch_of(records.database)
            with self.writing() as (connection, master):
                write_anchor(connection, master, company_id, found)
        finally:
            records.database.close()
        log.warning("rollback_accepted", company=company_id)

    def close(self) -> None:
        """Close every database; the anchors follow where they can be written."""
        for company_id, records in self._opened.items():
            with suppress(OstrakaError, SQLAlchemyError):  # it lags behind then, and moves at the next opening
                self.anchor(company_id)
            records.database.close()
        self.audit.close()
        self.database.close()
        self.place.close()

    def _open(self, company_id: str) -> CompanyRecords:
        records = self._open_unchecked(company_id)
        try:
            found = epoch_of(records.database)
            with self.reading() as (connection, master):
                check_anchor(connection, master, company_id, found)
            with suppress(Unavailable):  # frozen, or the disk is full: maintenance comes back to it
                self._advance_anchor(company_id, found)
        except BaseException:
            records.database.close()
            raise
        return records

    def _advance_anchor(self, company_id: str, found: int) -> bool:
        with self.reading() as (connection, master):
            if read_anchor(connection, master, company_id) >= found:
                return False
        with self.writing() as (connection, master):
            if read_anchor(connection, master, company_id) < found:  # another process may have come further
                write_anchor(connection, master, company_id, found)
        return True

    @contextmanager
    def _with_master(
        self, begin: Callable[[], AbstractContextManager[Connection]], *, asking: bool = True
    ) -> Iterator[tuple[Connection, MasterKey]]:
        """Begin a transaction, once more where the key at hand is not the one that it names.

        The source of keys may be far away: it is never asked while a transaction is open, nor without ``asking``.
        """
        for _ in range(_LOOKS_MAX):
            with begin() as connection:
                master = self.master
                named: str = connection.execute(select(store.c.master_key_id)).scalar_one()
                if named == master.key_id:
                    yield connection, master
                    return
            if not asking:
                break
            self.master = master_key_of(self.key_source, self.place.where, named)
            log.info("master_key_changed", key=named)
        raise Unavailable("the master key is being rotated; try again")

    def _open_unchecked(self, company_id: str) -> CompanyRecords:
        later = partial(self._load_keys, company_id, asking=False)  # in the middle of a write, it may be
        keys = CompanyKeys(self._load_keys(company_id), later)
        folder = company_folder(self.root, company_id)
        make_durable_directory(folder)
        database = self.place.open("company", self.clock, company_id, partial(seal_states, key=keys))
        return CompanyRecords(keys, database, folder, self.clock, int(self.storage.purge_s * 1e6))

    def _load_keys(self, company_id: str, *, asking: bool = True) -> Mapping[int, CompanyKey]:
        with self._with_master(self.database.read, asking=asking) as (connection, master):
            rows = connection.execute(select(company_keys).where(company_keys.c.company_id == company_id)).all()
        if not rows:
            raise NotFound("there is no such company")
        return {row.version: unwrap_company_key(master, company_id, row.version, row.wrapped) for row in rows}


def open_control(
    settings: Settings, environment: Mapping[str, str] | None = None, clock: Clock = now_us
) -> ControlStore:
    """Open the control store of a data directory; the first start creates it, its key and a default company.

    Raises ``ConfigurationError`` when the directory cannot be used, or the master key is missing or another.
    """
    environment = os.environ if environment is None else environment
    root = settings.storage.path.absolute()
    try:
        make_durable_directory(root)
    except OSError as error:
        raise ConfigurationError(f"[storage] path: {root} cannot be used: {error.strerror}; choose another") from None
    place = open_place(settings.storage, environment)
    with ExitStack() as opened:  # what is closed again where something is wrong
        opened.callback(place.close)
        with place.alone("start"):
            database = place.open("control", clock)
            opened.callback(database.close)
            with database.read() as connection:
                row = connection.execute(select(store)).first()
                on_its_way = arriving(connection)
            if on_its_way:
                raise ConfigurationError(
                    f"{place.where} holds a part of a store: repeat what was to bring it, `ostraka migrate-store` or "
                    "`ostraka backup restore`, until it says that it is there"
                )
            if row is None and place.companies():
                raise ConfigurationError(
                    f"{place.where} holds companies, but its control.db is missing or empty; restore "
                    "control.db (or the schema ostraka_control) from a backup"
                )
            if row is None:
                control = _create(settings, environment, place, database, clock)
                opened.pop_all()
                return control
        source = open_key_source(settings.storage, row.id, environment)
        master = master_key_of(source, place.where, row.master_key_id)
        control = ControlStore(place, database, master, source, clock, settings.storage)
        opened.callback(control.audit.close)
        _finish_what_was_begun(control)
        opened.pop_all()
    return control


def _finish_what_was_begun(control: ControlStore) -> None:
    with suppress(Frozen):  # nothing may be written: the next start does it
        with suppress(IntegrityError):  # whoever uses the log is told
            control.audit.begin()
        adopt_earlier(control.database, control.master)
    with suppress(Unavailable):  # maintenance comes back to it
        settle_erased(control.database)


def _create(
    settings: Settings, environment: Mapping[str, str], place: Place, database: Database, clock: Clock
) -> ControlStore:
    store_id = new_id("store")
    source = open_key_source(settings.storage, store_id, environment)
    master = source.find(None) or make_first_key(source)
    control = ControlStore(place, database, master, source, clock, settings.storage)
    with database.write() as connection:
        connection.execute(insert(store).values(id=store_id, master_key_id=master.key_id, created_at=clock()))
        control.audit.make_key(connection, master)
        insert_company(connection, master, DEFAULT_COMPANY, NO_BOUNDS, clock())
    return control

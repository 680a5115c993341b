"""Rotating keys: the master key and a company's in seconds, a namespace's at once, and the rest in the background.

Each step is durable before the next, so that a rotation that was cut off is ended by doing it again; for companies and
namespaces maintenance does that.

    master     next key durable in its source -> all that it seals, in one transaction -> next key current in its source
    company    next version in the control store -> all that it seals, in one transaction -> older versions erased
    namespace  next version, which seals from then on -> rows and shards sealed anew -> older versions erased
"""

from collections.abc import Sequence
from dataclasses import dataclass

import structlog
from sqlalchemy import delete, insert, select

from core.crypto.keys import next_secret, unwrap_company_key, wrap_company_key
from core.crypto.keysource import RotatingKeySource
from core.errors import NotFound
from core.records.company import COMPANY_KEY, CompanyRecords
from core.records.control import ControlStore
from core.records.counters import read_counter, set_counter
from core.records.engine import Database
from core.records.erasure import erased_at, mark_erased, settle_erased
from core.records.keyversions import add_version, older_shards, older_values, retiring
from core.records.rewrapping import rewrap_company, rewrap_control
from core.records.tables import company_keys

log = structlog.get_logger()


@dataclass(frozen=True)
class Retiring:
    """A namespace with older versions of its key: what is still sealed with them."""

    namespace: str
    name: str
    version: int
    rows: int
    shards: int


@dataclass(frozen=True)
class CompanyRotation:
    """How far the rotations of a company are."""

    company: str
    version: int
    unfinished: bool  # an older version of its own key is still there
    log: bool  # erased keys may still lie in its write-ahead log
    retiring: Sequence[Retiring]


def rotate_master(control: ControlStore, source: RotatingKeySource) -> str:
    """Seal all that the master key seals with the next one; return its id. Raises ``ConfigurationError``, ``Frozen``.

    Other processes notice at their next look into the control store, and fetch the key.
    """
    following = source.prepare_next()
    with control.writing() as (connection, current):
        rewrap_control(connection, current, following)
        mark_erased(connection, control.clock())
    source.promote(following)
    settle_erased(control.database)
    log.warning("master_key_rotated", key=following.key_id, meaning="backups made before need the key of before")
    return following.key_id


def rotate_company(control: ControlStore, company: str) -> int:
    """Give a company a new key, and seal all with it that the one before sealed; return its version.

    A rotation that was cut off is ended instead. Raises ``NotFound``, ``Frozen``, ``Unavailable``.
    """
    with control.writing() as (connection, master):
        rows = connection.execute(select(company_keys).where(company_keys.c.company_id == company)).all()
        if not rows:
            raise NotFound("there is no such company")
        if len(rows) == 1:
            [row] = rows
            secret = unwrap_company_key(master, company, row.version, row.wrapped).secret
            version = row.version + 1
            wrapped = wrap_company_key(master, company, version, next_secret(secret))
            connection.execute(
                insert(company_keys).values(
                    company_id=company, version=version, wrapped=wrapped, created_at=control.clock()
                )
            )
    end_company_rotation(control, company)
    return control.records(company).key.version


def end_company_rotation(control: ControlStore, company: str) -> bool:
    """Seal a company's values with its newest key, then erase the older ones; say whether there were any.

    Raises ``Frozen``, ``Unavailable``.
    """
    settle_erased(control.database)
    with control.reading() as (connection, _):  # with the present master key at hand: the rings ask for none
        of_company = company_keys.c.company_id == company
        versions = sorted(connection.execute(select(company_keys.c.version).where(of_company)).scalars())
    if len(versions) < 2:
        return False
    records, newest = control.records(company), versions[-1]
    records.key.at_least(newest)
    with records.database.write() as connection:
        if read_counter(connection, COMPANY_KEY) < newest:
            rewrap_company(connection, records.key)
            set_counter(connection, COMPANY_KEY, newest)
            mark_erased(connection, records.clock(), "company")
    with control.database.write() as connection:
        connection.execute(delete(company_keys).where(of_company, company_keys.c.version < newest))
        mark_erased(connection, control.clock())
    settle_erased(records.database)
    settle_erased(control.database)
    log.info("company_key_rotated", company=company, version=newest)
    return True


def rotate_namespace(records: CompanyRecords, name: str) -> int:
    """Give a namespace a new key for all that is written from now on; return its version. Raises ``NotFound``.

    Maintenance seals anew what is there, and then erases the older key.
    """
    namespace = records.namespace(name)
    version = add_version(records, namespace)
    log.info("namespace_key_rotated", namespace=namespace.public_id, version=version)
    return version


def log_waits(database: Database) -> bool:
    """Say whether a database's files may still hold keys that were erased."""
    with database.read() as connection:
        return erased_at(connection, database.kind) is not None


def company_rotation(control: ControlStore, company: str) -> CompanyRotation:
    """Return how far the rotations of a company are. Reads every row of the namespaces whose keys are retiring."""
    records = control.records(company)
    with control.database.read() as connection:
        of_company = company_keys.c.company_id == company
        versions = list(connection.execute(select(company_keys.c.version).where(of_company)).scalars())
    with records.database.read() as connection:
        waiting = retiring(connection)
    marked = log_waits(records.database)
    return CompanyRotation(
        company, max(versions), len(versions) > 1, marked, [_retiring(records, each) for each in waiting]
    )


def _retiring(records: CompanyRecords, namespace_id: int) -> Retiring:
    namespace = records.namespace_by_id(namespace_id)
    version = namespace.key.version
    with records.database.read() as connection:
        return Retiring(
            namespace.public_id,
            namespace.name,
            version,
            older_values(connection, namespace_id, version),
            older_shards(connection, namespace_id, version),
        )

"""The keys of every company as they are now, in memory: a request is authenticated without asking the store.

They are read again as often as their reader asks. A company whose roll and terms have not changed is not read: every
change of its keys seals the roll anew. What was put into its rows behind our back thus counts for nothing in a process
that runs, and is refused by the next one that reads them.
"""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import structlog
from sqlalchemy import Connection, Row, select

from core.crypto.keys import MasterKey
from core.errors import IntegrityError, Unauthenticated
from core.records.apikeys import hash_secret, split_key
from core.records.companies import LIVE, home_of
from core.records.control import ControlStore
from core.records.grants import EVERY_NAMESPACE, SCOPES, Principal
from core.records.keyroll import KeyRecord, Roll, read_roll
from core.records.tables import api_keys, companies
from core.records.terms import NO_BOUNDS, Terms, open_terms

log = structlog.get_logger()

_NO_HASH: Final = bytes(32)


@dataclass(frozen=True)
class CompanyCredentials:
    """The keys of one company by their ids, and its terms; only the ids, where they are not the ones that were made."""

    id: str
    seals: tuple[bytes | None, bytes | None]  # its roll and its terms, as they were read
    epoch: int | None
    terms: Terms = NO_BOUNDS
    keys: Mapping[str, KeyRecord] = field(default_factory=dict)
    refused: frozenset[str] = frozenset()
    authentic: bool = True


@dataclass(frozen=True)
class Credentials:
    """Every key of the store at one moment."""

    home: str | None
    companies: Mapping[str, CompanyCredentials]
    keys: Mapping[str, KeyRecord]
    refused: frozenset[str]

    def authenticate(self, key: str, now: int) -> Principal:
        """Return who a key belongs to.

        Raises ``Unauthenticated`` for a key that is unknown, expired or revoked, ``IntegrityError`` when the keys of
        its company are not those that were made.
        """
        key_id, secret = split_key(key)
        known = self.keys.get(key_id)
        same = hmac.compare_digest(hash_secret(secret), known.secret_hash if known else _NO_HASH)
        if key_id in self.refused:
            raise IntegrityError("the API keys of the company are not those that were made; the log says more")
        if known is None or not same:
            raise Unauthenticated("the API key is not valid; check it, or ask the operator for another")
        if not known.grant.holds(now):
            raise Unauthenticated("the API key has expired or was revoked; ask the operator for another")
        return principal_of(known)

    def miss(self, key: str) -> bool:
        """Say whether a presented key may be one that was made since."""
        return split_key(key)[0] != "" and self.named_by(key) is None

    def named_by(self, key: str) -> str | None:
        """Return the id that a presented key names, if there is such a key: whatever else was sent may be a secret."""
        key_id, _ = split_key(key)
        return key_id if key_id in self.keys or key_id in self.refused else None

    @property
    def developer(self) -> Principal | None:
        """Who calls without a key: anybody, with everything in the default company, until there is the first key."""
        home = self.companies[self.home] if self.home else None
        if home is None or not home.authentic or home.epoch != 0:
            return None
        return Principal(home.id, None, frozenset(SCOPES), (EVERY_NAMESPACE,))


def read_credentials(control: ControlStore, known: Credentials | None = None) -> Credentials:
    """Return the keys as they are now; what has not changed since ``known`` is not read again.

    Raises ``Unavailable``.
    """
    before = known.companies if known else {}
    with control.reading() as (connection, master):
        rows = connection.execute(select(companies).where(LIVE)).all()
        found = {row.id: _read_company(connection, master, row, before.get(row.id)) for row in rows}
        home = _home(connection, master, known)
    if (
        known
        and known.home == home
        and found.keys() == before.keys()
        and all(found[id_] is before[id_] for id_ in found)
    ):
        return known
    keys = {key_id: key for company in found.values() for key_id, key in company.keys.items()}
    return Credentials(home, found, keys, frozenset().union(*(company.refused for company in found.values())))


def _home(connection: Connection, master: MasterKey, known: Credentials | None) -> str | None:
    """Return the id of the default company; none where another lies in its place: then nobody operates the server."""
    try:
        return home_of(connection, master)
    except IntegrityError as error:
        if known is None or known.home is not None:
            log.error("default_company_refused", code=error.reason, meaning=error.message)
        return None


def _read_company(
    connection: Connection, master: MasterKey, row: Row[Any], before: CompanyCredentials | None
) -> CompanyCredentials:
    seals = row.sealed_roll, row.sealed_terms
    if before and before.authentic and before.seals == seals:
        return before
    epoch = before.epoch if before else None
    try:
        roll = read_roll(connection, master, row.id)
        _refuse_older(row.id, roll, epoch)
        terms = open_terms(master, row)
    except IntegrityError as error:
        if before is None or before.authentic:
            log.error("api_keys_refused", company=row.id, code=error.reason, meaning=error.message)
        listed = connection.execute(select(api_keys.c.id).where(api_keys.c.company_id == row.id)).scalars()
        return CompanyCredentials(row.id, seals, epoch, refused=frozenset(listed), authentic=False)
    return CompanyCredentials(row.id, seals, roll.epoch, terms, {key.id: key for key in roll.keys})


def _refuse_older(company_id: str, roll: Roll, epoch: int | None) -> None:
    """Raise ``IntegrityError`` for a roll that is older than the one this process saw."""
    if roll.epoch is not None and epoch is not None and roll.epoch < epoch:
        raise IntegrityError(f"the API keys of company {company_id} were put back from an older control.db")


def principal_of(key: KeyRecord) -> Principal:
    """Return who a key stands for."""
    grant = key.grant
    return Principal(
        company_id=grant.company_id,
        key_id=key.id,
        scopes=frozenset(grant.scopes),
        patterns=tuple(grant.patterns),
        expires_at=grant.expires_at,
        requests_per_s=grant.requests_per_s,
    )

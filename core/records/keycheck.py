"""Opening the stored keys once more: a process that has them open would not notice before its next start."""

from sqlalchemy import Connection, select

from core.crypto.envelope import key_version_of
from core.crypto.keys import unwrap_company_key, unwrap_namespace_key
from core.errors import IntegrityError
from core.records.company import CompanyRecords
from core.records.control import ControlStore
from core.records.states import check_state
from core.records.tables import company_keys, namespace_keys, namespaces


def check_keys(control: ControlStore, records: CompanyRecords) -> int:
    """Unwrap the stored keys of a company and of each live namespace of it; return how many namespaces there are.

    Raises ``IntegrityError`` when one is missing, was changed, or does not fit the key above it.
    """
    with control.reading() as (connection, master):
        wrapped = connection.execute(select(company_keys).where(company_keys.c.company_id == records.company)).all()
    if not wrapped:
        raise IntegrityError(f"the key of company {records.company} is missing")
    for row in wrapped:
        unwrap_company_key(master, records.company, row.version, row.wrapped)
    with records.database.read() as connection:
        return _check_namespaces(connection, records)


def _check_namespaces(connection: Connection, records: CompanyRecords) -> int:
    rows = connection.execute(
        select(namespaces.c.id, namespaces.c.public_id, namespace_keys.c.version, namespace_keys.c.wrapped)
        .select_from(namespaces.outerjoin(namespace_keys, namespace_keys.c.namespace_id == namespaces.c.id))
        .where(namespaces.c.deleted_at.is_(None))
    ).all()
    for row in rows:
        if row.wrapped is None:
            raise IntegrityError(f"the key of namespace {row.public_id} is missing")
        parent = records.key.of_version(key_version_of(row.wrapped))
        unwrap_namespace_key(parent, row.public_id, row.version, row.wrapped)
    live = {row.id for row in rows}
    for namespace_id in live:
        check_state(connection, records.key, namespace_id)
    return len(live)

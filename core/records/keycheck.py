"""Opening the stored keys once more: a process that has them open would not notice before its next start."""

from sqlalchemy import Connection, func, select

from core.crypto.keys import unwrap_company_key, unwrap_namespace_key
from core.errors import IntegrityError
from core.records.company import CompanyRecords
from core.records.control import ControlStore
from core.records.tables import company_keys, namespace_keys, namespaces


def check_keys(control: ControlStore, records: CompanyRecords) -> int:
    """Unwrap the stored keys of a company and of each live namespace of it; return how many namespaces there are.

    Raises ``IntegrityError`` when one is missing, was changed, or does not fit the key above it.
    """
    with control.reading() as (connection, master):
        wrapped = connection.execute(
            select(company_keys)
            .where(company_keys.c.company_id == records.company)
            .order_by(company_keys.c.version.desc())
        ).first()
    if wrapped is None:
        raise IntegrityError(f"the key of company {records.company} is missing")
    unwrap_company_key(master, records.company, wrapped.version, wrapped.wrapped)
    with records.database.read() as connection:
        return _check_namespaces(connection, records)


def _check_namespaces(connection: Connection, records: CompanyRecords) -> int:
    newest = select(namespace_keys.c.namespace_id, func.max(namespace_keys.c.version).label("version"))
    latest = newest.group_by(namespace_keys.c.namespace_id).subquery()
    keys = namespace_keys.join(
        latest,
        (latest.c.namespace_id == namespace_keys.c.namespace_id) & (latest.c.version == namespace_keys.c.version),
    )
    rows = connection.execute(
        select(namespaces.c.public_id, namespace_keys.c.version, namespace_keys.c.wrapped)
        .select_from(namespaces.outerjoin(keys, namespace_keys.c.namespace_id == namespaces.c.id))
        .where(namespaces.c.deleted_at.is_(None))
    ).all()
    for row in rows:
        if row.wrapped is None:
            raise IntegrityError(f"the key of namespace {row.public_id} is missing")
        unwrap_namespace_key(records.key, row.public_id, row.version, row.wrapped)
    return len(rows)

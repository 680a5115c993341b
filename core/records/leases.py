"""Named leases in the record store: at most one holder, who must finish or renew before the deadline."""

from sqlalchemy import Connection, delete
from sqlalchemy.dialects import postgresql, sqlite

from core.ids import new_id
from core.records.tables import leases


def take_lease(connection: Connection, name: str, *, now: int, lease_us: int) -> str | None:
    """Take a lease that is free or has run out; return its token, or ``None`` while somebody holds it."""
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    token = new_id("lease")
    statement = dialect.insert(leases).values(name=name, token=token, until=now + lease_us)
    taken = connection.execute(
        statement.on_conflict_do_update(
            index_elements=[leases.c.name],
            set_={"token": token, "until": now + lease_us},
            where=leases.c.until <= now,
        ).returning(leases.c.token)
    ).scalar()
    return token if taken == token else None


def drop_lease(connection: Connection, name: str, token: str) -> None:
    """Give a lease back; one that ran out and was taken by another is left alone."""
    connection.execute(delete(leases).where(leases.c.name == name, leases.c.token == token))

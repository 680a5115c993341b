"""What is on its way, row by row, and a worker that dies with some of it."""

from sqlalchemy import select

from core.records.claims import claim_pending
from core.records.tables import Lane, memories

ATTEMPTS = 5  # the default of [queue] attempts_max
LEASE_S = 60
BACKOFF_S = 300  # no wait is longer


def note(number: int) -> dict[str, object]:
    return {"id": f"n{number}", "content": f"Note {number} about the harbour."}


def rows(server) -> dict[int, object]:
    """Each row by the number of its note."""
    with server.records.database.read() as connection:
        found = connection.execute(select(memories).order_by(memories.c.id)).all()
    return dict(enumerate(found))


def claims(server) -> int:
    """How many rows are claimed right now."""
    now = server.clock()
    return sum(row.lease is not None and row.lease_until > now for row in rows(server).values())


def outcome(server, accepted) -> tuple[str, int, list[tuple[str, int]]]:
    job = server.job(accepted)
    return job.state, job.indexed, [(error["code"], error["memories"]) for error in job.errors]


def die_with(server, limit: int) -> list[int]:
    """Claim as a worker does that is killed before it ends anything; return what it held."""
    with server.records.database.write() as connection:
        claim = claim_pending(
            connection,
            Lane.INTERACTIVE,
            now=server.clock(),
            lease_us=LEASE_S * 1_000_000,
            limit=limit,
            attempts_max=ATTEMPTS,
        )
    return [row.id for row in claim.rows]

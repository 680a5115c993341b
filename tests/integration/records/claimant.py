"""What each process of the two-process claim test runs; a module of its own so that a spawned child can import it."""

import os
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier

from core.records.claims import claim_pending
from core.records.control import open_control
from core.records.tables import Lane
from core.settings import load_settings


def claim_everything(environment: dict[str, str], start: Barrier, results: "Queue[list[int]]") -> None:
    """Claim rows in small bites until none is left, and report them."""
    os.environ.update(environment)
    control = open_control(load_settings())
    records = control.records(control.companies()[0].id)
    taken: list[int] = []
    start.wait()
    while True:
        with records.database.write() as connection:
            now = records.clock()
            claim = claim_pending(
                connection, Lane.INTERACTIVE, now=now, lease_us=3_600_000_000, limit=3, attempts_max=5
            )
        if not claim.rows:
            break
        taken += [row.id for row in claim.rows]
        if len(taken) == len(claim.rows):
            start.wait()  # nobody goes on before everybody has some
    control.close()
    results.put(taken)

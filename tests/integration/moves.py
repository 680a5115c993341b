"""Moving a store with the real command: started, killed, and what it left looked at."""

import signal
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

import psycopg
from psycopg import sql

from core.records.control import ControlStore
from core.records.moving import origin_of
from core.records.places import Place
from core.records.tablecopy import compare, tables_of
from core.settings import Settings, load_settings
from tests.integration.processes import Process, eventually


def settings_for(folder: Path, url: str = "") -> Settings:
    return load_settings(None, {"storage": {"path": folder / "data", "database_url": url}})


class Move(Process):
    """``ostraka migrate-store``, to be killed on its way."""

    def __init__(self, folder: Path, url: str, environment: Mapping[str, str] | None = None) -> None:
        super().__init__(folder, "migrate-store", "--to", url, environment=environment)
        self.url = url

    def reach(self, company: str, rows: int) -> None:
        """Wait until it has brought as many memories of a company, or has ended."""
        eventually(lambda: self.returncode is not None or rows_there(self.url, company) >= rows, every_s=0.002)

    def kill(self) -> int:
        """kill -9 it, unless it has ended; return its status."""
        return self.end(signal.SIGKILL) if self.returncode is None else self.wait()


def rows_there(url: str, company: str) -> int:
    """Return how many memories of a company have arrived."""
    with psycopg.connect(url) as connection:
        if connection.execute("SELECT to_regclass(%s)", (f"ostraka_{company}.memories",)).fetchone() == (None,):
            return 0
        found = connection.execute(
            sql.SQL("SELECT count(*) FROM {}.memories").format(sql.Identifier(f"ostraka_{company}"))
        )
        return found.fetchone()[0]


def check_equal(control: ControlStore, place: Place, kinds: Sequence[str] = ("control", "audit", "company")) -> int:
    """Compare every row of every database with those of a place; return how many rows there are."""
    origin = origin_of(control, "")
    for company, database in origin.databases:
        if database.kind not in kinds:
            continue
        with (
            closing(place.open(database.kind, control.clock, company)) as copy,
            database.read() as ours,
            copy.read() as theirs,
        ):
            for table in tables_of(database.kind):
                compare(ours, theirs, table)
    return origin.count()

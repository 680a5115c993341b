"""Every call that changes a file, failing once: `python -m tests.fault.stepper`, run under the shim by a test.

For each kind of work one process does it once to count its calls, then again and again, the first time with the first
call failing, then the second, and so on (in the short run: of a commit and of a flush; of the others, each third).
After each the data directory is copied, as a kill -9 would leave it, and both the copy and the living process must
hold what was acknowledged.
"""

import errno
import itertools
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from core.errors import NotFound, OstrakaError
from core.memory import NewMemory
from core.records.companies import DEFAULT_COMPANY
from core.records.control import ControlStore, open_control
from core.records.deletion import delete_memory
from core.records.reading import get_memory, list_memories
from core.records.tables import Lane
from core.records.writes import WriteRequest
from core.runtime import Runtime
from core.search.request import Scope, SearchRequest
from core.settings import load_settings
from tests.fault.ledger import Ledger
from tests.fault.shim.control import COMMITTING, Shim
from tests.fault.traffic import text_of

ERRORS = (errno.EIO, errno.ENOSPC)
HOUR_US = 3_600_000_000


@dataclass
class Result:
    """What a kind of work went through."""

    calls: int = 0
    cycles: int = 0
    writes: int = 0
    deletes: int = 0
    lost: int = 0
    resurrected: int = 0


class Stepper:
    """A runtime in this process, whose system calls the shim lets fail."""

    def __init__(self, folder: Path, shim: Shim) -> None:
        self.folder = folder
        self.shim = shim
        self.late_us = 0
        self.ledger = Ledger()
        self.result = Result()
        self.runtime = Runtime(settings(folder / "data"), lambda *_: None)
        real = self.runtime.control.clock
        self.runtime.control.clock = lambda: real() + self.late_us
        self.company = self.runtime.control.find_company(DEFAULT_COMPANY).id
        self.tenant = self.runtime.tenant(self.company)

    def step(self, prepare: Callable[[], Any], work: Callable[[Any], None], every: int, both: bool) -> Result:
        """Do the work with each ``every``-th of its calls failing in turn, and check what is left after each."""
        self.result, self.ledger = Result(), Ledger(f"stepped-{work.__name__}")
        self.tenant.records.ensure_namespace(self.ledger.namespace)
        for _ in range(2):  # the first time makes files that stay
            given = prepare()
            with self.shim.counting(COMMITTING):
                work(given)
        self.result.calls = self.shim.get("counted")
        for number, error, lasting in self._faults(every, both):
            given = prepare()
            last = self.result.calls * 10 if lasting else number
            with self.shim.failing(COMMITTING, error, number, last):
                self._suffer(work, given)
            self.result.cycles += self.shim.get("failed") > 0
            self._check_image()
            self.late_us += HOUR_US  # leases of what failed have run out
            work(prepare())
            self._check(self.runtime.control)
        self.result.writes, self.result.deletes = self.ledger.writes, self.ledger.deletes
        return self.result

    def _faults(self, every: int, both: bool) -> Iterator[tuple[int, int, bool]]:
        """Which call fails, how, and whether all after it do: every combination, or each in its turn."""
        ways = list(itertools.product(ERRORS, (False, True)))
        for turn, number in enumerate(range(1, self.result.calls + 1, every)):
            for error, lasting in ways if both else [ways[turn % len(ways)]]:
                yield number, error, lasting

    @staticmethod
    def _suffer(work: Callable[[Any], None], given: Any) -> None:
        try:
            work(given)
        except (OstrakaError, OSError):
            return
        except Exception as error:
            if type(error).__module__.startswith("obstore"):
                return
            raise

    # --- the kinds of work ------------------------------------------------------------------------------

    def nothing(self) -> None:
        """Prepare nothing."""

    def commit(self, _: Any) -> None:
        """Accept a memory."""
        [name] = self.ledger.open(1)
        text = text_of(name, 1)
        self.ledger.attempt(name, text)
        request = WriteRequest(self._namespace(), [NewMemory(id=name, content=text)], Lane.INTERACTIVE)
        self.tenant.committer.submit(request).result(timeout=60)
        self.ledger.acknowledge(name, text)

    def written(self) -> str:
        """Prepare a memory that is accepted."""
        self.commit(None)
        return list(self.ledger.entries)[-1]

    def delete(self, name: str) -> None:
        """Delete a memory."""
        self.ledger.attempt(name, None)
        delete_memory(self.tenant.records, self._namespace(), name)
        self.ledger.acknowledge(name, None)

    def embed(self, _: Any) -> None:
        """Claim, embed and store."""
        self.runtime.embed(self.company, Lane.INTERACTIVE)

    def embedded(self) -> None:
        """Prepare a memory with its vector."""
        self.written()
        self.embed(None)

    def flush(self, _: Any) -> None:
        """Build a shard, seal it, put it, make it live."""
        self.runtime.index(self.company)

    def deleted(self) -> None:
        """Prepare a shard that holds a deleted memory whose purge is due."""
        self.embedded()
        self.flush(None)
        self.delete(list(self.ledger.entries)[-1])
        self.late_us += HOUR_US

    def maintain(self, _: Any) -> None:
        """Compact, purge, collect."""
        self.runtime.maintain(self.company)

    # --- what must be true after each ---------------------------------------------------------------------

    def _namespace(self) -> Any:
        return self.tenant.records.namespace(self.ledger.namespace)

    def _check_image(self) -> None:
        """Hold a copy of the files, as a crash at this moment would leave them, against the ledger."""
        image = self.folder / "image"
        shutil.copytree(self.folder / "data", image, ignore=shutil.ignore_patterns("*-shm", "*.lock", "*.turn"))
        control = open_control(settings(image))
        try:
            self._check(control)
        finally:
            control.close()
            shutil.rmtree(image)

    def _check(self, control: ControlStore) -> None:
        records = control.records(self.company)
        namespace = records.namespace(self.ledger.namespace)
        views, after = [], 0
        while after is not None:
            page = list_memories(records, namespace, after=after, limit=500)
            assert not page.refused
            views, after = [*views, *page.memories], page.next_after
        assert len(views) == len({view.id for view in views})
        found = {view.id: view.content for view in views}
        for name, entry in self.ledger.entries.items():
            if found.get(name) not in entry.possible:
                self.result.resurrected += entry.possible == {None}
                self.result.lost += entry.possible != {None}

    def check_searches(self) -> None:
        """Bring everything to its end, and find each memory by its word."""
        for _ in range(3):
            self.embed(None)
            self.flush(None)
            self.maintain(None)
        for name, entry in list(self.ledger.entries.items())[-50:]:
            request = SearchRequest(f"word{name}x", 10, "text", Scope())
            hits = [hit.memory.content for hit in self.tenant.query.search(self._namespace(), request).hits]
            assert hits in [[content] if content else [] for content in entry.possible], (name, hits)
            assert hits or not self._present(name), name

    def _present(self, name: str) -> bool:
        try:
            return bool(get_memory(self.tenant.records, self._namespace(), name))
        except NotFound:
            return False


def settings(data: Path) -> Any:
    return load_settings(None, {"storage": {"path": str(data), "free_bytes_min": 0}, "queue": {"lease_s": 3}})


def main() -> None:
    """Step through every kind of work; print the results as JSON."""
    folder, both = Path(sys.argv[1]), sys.argv[2] == "both"
    stepper = Stepper(folder, Shim.of_this_process())
    results = {}
    some = 1 if both else 3
    for kind, prepare, work, every in (
        ("commit", stepper.nothing, stepper.commit, 1),
        ("delete", stepper.written, stepper.delete, some),
        ("embed", stepper.written, stepper.embed, some),
        ("flush", stepper.embedded, stepper.flush, 1),
        ("compaction", stepper.deleted, stepper.maintain, some),
    ):
        results[kind] = asdict(stepper.step(prepare, work, every, both))
        stepper.check_searches()
    stepper.runtime.close()
    sys.stdout.write(json.dumps(results) + "\n")


if __name__ == "__main__":
    main()

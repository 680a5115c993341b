"""Is the server ready, and what is wrong where it is not: facts are collected, then judged.

*Stalled* is not *old*: the rows of a long backfill wait for hours while everything goes well. A queue is stalled when
the row at its head, which any worker could take up, stays the same for too long, and nobody holds a claim. That is seen
by looking again and again, on a clock that does not jump, so that neither a changed wall clock nor a restart amid a
backlog looks like a stall. A flush takes seconds, so what waits to be flushed is judged by its head alone.
"""

import shutil
import time
from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from core.errors import ConfigurationError, IntegrityError, NotFound
from core.pipeline.doorbell import EMBED, EMBED_BULK, INDEX
from core.pipeline.plans import BULK_WAIT_S
from core.records.apikeys import has_keys
from core.records.backlog import Head, due_heads
from core.records.company import CompanyRecords
from core.records.control import ControlStore
from core.records.keycheck import check_keys
from core.records.ledger import read_ledger
from core.records.quarantine import quarantined_shards
from core.records.tables import Lane, State

_THOROUGH_EVERY_S: Final = 60.0  # for what looks at every memory and namespace
_DEGRADED: Final = frozenset({"frozen", "shards_quarantined", "ledger_imbalance"})  # everything is answered yet


@dataclass(frozen=True)
class Reason:
    """Something that is wrong: a stable code, and what it means, with nothing of any tenant."""

    code: str
    detail: str

    @property
    def unready(self) -> bool:
        """Whether the server cannot do all of its work."""
        return self.code not in _DEGRADED


@dataclass(frozen=True)
class Facts:
    """What was found, all companies together."""

    store_answers: bool = True
    keys_fit: bool = True
    blobs_answer: bool = True
    free_bytes: int = 0
    frozen: bool = False
    still_s: Mapping[str, float] = field(default_factory=dict)  # for how long the head of a queue has not moved
    quarantined: int = 0
    imbalance: int = 0
    has_api_keys: bool = True


def judge(facts: Facts, *, redis_answers: bool, stalled_s: float, free_bytes_min: int) -> list[Reason]:
    """Return what is wrong, the worst first."""
    stalled = ", ".join(sorted(queue for queue, still_s in facts.still_s.items() if still_s > stalled_s))
    listed = (
        (not facts.store_answers, "store_unreachable", "the record store does not answer"),
        (not facts.keys_fit, "key_missing", "a key is missing or does not fit the data; see `ostraka doctor`"),
        (not redis_answers, "redis_unreachable", "Redis does not answer: new memories are kept, and searchable later"),
        (
            not facts.blobs_answer,
            "blobs_unreachable",
            "the object store does not answer: what is new waits, not searchable",
        ),
        (bool(stalled), "pipeline_stalled", f"no worker takes up what waits in {stalled}: it is kept, not searchable"),
        (facts.free_bytes < free_bytes_min, "disk_nearly_full", "the disk is nearly full: nothing is taken in"),
        (facts.frozen, "frozen", "the server is frozen while its data is copied: nothing is taken in"),
        (facts.quarantined > 0, "shards_quarantined", "an index file was refused; it is being built anew"),
        (facts.imbalance > 0, "ledger_imbalance", "accepted memories are not accounted for; see `ostraka doctor`"),
    )
    return [Reason(code, detail) for wrong, code, detail in listed if wrong]


def status_of(reasons: Sequence[Reason]) -> Literal["healthy", "degraded", "unready"]:
    """Return how the server is in one word."""
    if not reasons:
        return "healthy"
    return "unready" if any(reason.unready for reason in reasons) else "degraded"


class Stillness:
    """Remembers since when each head is the same."""

    def __init__(self) -> None:
        self._since: dict[Hashable, tuple[int, float]] = {}

    def observe(self, heads: Mapping[Hashable, int], now: float) -> dict[Hashable, float]:
        """Return for how long each head has been seen; what is not named any more has moved."""
        before = self._since
        self._since = {
            place: before[place] if before.get(place, (None,))[0] == row else (row, now) for place, row in heads.items()
        }
        return {place: now - since for place, (_, since) in self._since.items()}


class Examiner:
    """Collects the facts that the stores and the disk know. One caller at a time."""

    def __init__(
        self,
        control: ControlStore,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._control = control
        self._clock = clock
        self._stillness = Stillness()
        self._imbalance = 0
        self._thorough_at = clock()

    def examine(self) -> Facts:
        """Return the facts as they are now; what hinders finding them is one of them."""
        try:
            return self._examine()
        except (IntegrityError, ConfigurationError, NotFound):  # of a key: what is sealed with it does not open
            return Facts(keys_fit=False, free_bytes=self._free_bytes())
        except Exception:  # noqa: BLE001 - whatever the reason, the store does not answer
            return Facts(store_answers=False, free_bytes=self._free_bytes())

    def _examine(self) -> Facts:
        now = self._clock()
        companies = [self._control.records(company.id) for company in self._control.companies()]
        self._check_master_key()
        open_ones = [records for records in companies if not records.database.frozen]
        working = [records for records in open_ones if not self._control.terms(records.company).suspended]
        if now >= self._thorough_at:
            for records in companies:
                check_keys(self._control, records)
            self._imbalance = sum(_imbalance(records) for records in companies)
            self._thorough_at = now + _THOROUGH_EVERY_S
        return Facts(
            free_bytes=self._free_bytes(),
            frozen=len(open_ones) < len(companies),
            still_s=self._still_s(working, now),
            quarantined=sum(_quarantined(records) for records in companies),
            imbalance=self._imbalance,
            has_api_keys=has_keys(self._control),
        )

    def _check_master_key(self) -> None:
        """Raise ``ConfigurationError`` when the next start would not find the key that this one found."""
        found = self._control.key_source.find(self._control.master.key_id)
        if found is None or found.key_id != self._control.master.key_id:
            raise ConfigurationError("the master key is not where it was")

    def _still_s(self, companies: Sequence[CompanyRecords], now: float) -> dict[str, float]:
        heads: dict[Hashable, Head] = {}
        for records in companies:
            with records.database.read() as connection:
                for head in due_heads(connection, records.clock()):
                    heads[records.company, head.state, head.lane, head.namespace_id] = head
        seen = self._stillness.observe({place: head.row for place, head in heads.items()}, now)
        longest: dict[str, float] = defaultdict(float)
        for place, head in heads.items():
            queue, meant_s = queue_of(head)
            longest[queue] = max(longest[queue], seen[place] - meant_s)
        return longest

    def _free_bytes(self) -> int:
        try:
            return shutil.disk_usage(self._control.root).free
        except OSError:
            return 0


def queue_of(head: Head) -> tuple[str, float]:
    """Return the queue that a head waits in, and the seconds that it may be meant to wait there."""
    if head.state == State.EMBEDDED:
        return INDEX, BULK_WAIT_S
    return {Lane.INTERACTIVE: EMBED, Lane.BULK: EMBED_BULK}[head.lane], 0.0


def _quarantined(records: CompanyRecords) -> int:
    with records.database.read() as connection:
        return len(quarantined_shards(connection))


def _imbalance(records: CompanyRecords) -> int:
    """Return how many rows the ledger is off by."""
    with records.database.read() as connection:
        return sum(abs(balance.imbalance) for balance in read_ledger(connection).values())

"""The client's own books: what every memory may be, after what the server has told about it.

An answer makes one outcome certain. An answer that never came leaves two: done, or not done. ``None`` stands for a
memory that is not there.
"""

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

Outcome = str | None


@dataclass
class Entry:
    """One memory: every set of outcomes that was ever possible, the present one last."""

    states: list[frozenset[Outcome]] = field(default_factory=lambda: [frozenset({None})])
    acknowledged: int = 0  # versions the server said it has
    unanswered: int = 0  # versions it may have

    @property
    def possible(self) -> frozenset[Outcome]:
        return self.states[-1]

    def since(self, mark: int) -> frozenset[Outcome]:
        """Every outcome that was possible at some time since ``len(states)`` was ``mark``."""
        return frozenset().union(*self.states[mark - 1 :])


class Ledger:
    """Memories of one namespace, each touched by one caller at a time."""

    def __init__(self, namespace: str = "audited") -> None:
        self.namespace = namespace
        self.entries: dict[str, Entry] = {}
        self.writes = 0  # acknowledged
        self.deletes = 0  # acknowledged
        self._free: list[str] = []
        self._lock = threading.Lock()

    def open(self, count: int) -> list[str]:
        """Return names of memories that were never written."""
        with self._lock:
            names = [f"m{len(self.entries) + number}" for number in range(count)]
            self.entries.update({name: Entry() for name in names})
        return names

    def attempt(self, name: str, outcome: Outcome) -> None:
        """Note, before the request is sent, what it may make of a memory."""
        with self._lock:
            entry = self.entries[name]
            entry.states.append(entry.possible | {outcome})

    def acknowledge(self, name: str, outcome: Outcome) -> None:
        """Note that the server said so."""
        with self._lock:
            entry = self.entries[name]
            entry.states.append(frozenset({outcome}))
            if outcome is None:
                self.deletes += 1
            else:
                entry.acknowledged += 1
                self.writes += 1

    def refuse(self, name: str) -> None:
        """Note that the server said that it did nothing."""
        with self._lock:
            entry = self.entries[name]
            entry.states.append(entry.states[-2])

    def doubt(self, name: str, outcome: Outcome) -> None:
        """Note that no answer came: what was attempted stays possible."""
        if outcome is not None:
            with self._lock:
                self.entries[name].unanswered += 1

    def keep(self, names: list[str]) -> None:
        """Offer memories to whoever changes or deletes one."""
        with self._lock:
            self._free += names

    @contextmanager
    def borrowed(self, rng: random.Random) -> Iterator[str | None]:
        """Yield a memory that nobody else touches meanwhile, if there is one that is certainly there.

        One whose last request was not answered is never touched again, so that its outcomes stay two.
        """
        with self._lock:
            place = rng.randrange(len(self._free)) if self._free else None
            name = self._free.pop(place) if place is not None else None
        yield name
        if name is not None and None not in (possible := self.entries[name].possible) and len(possible) == 1:
            self.keep([name])

    def sample(self, rng: random.Random, count: int) -> list[str]:
        """Return some of the memories."""
        with self._lock:
            names = list(self.entries)
        return names if len(names) <= count else rng.sample(names, count)

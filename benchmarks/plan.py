"""What a run measures and how much of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

STORES: Final = ("sqlite", "postgresql")
PARTS: Final = ("ingest", "search", "opening", "freshness", "adds", "quality")
LONGER: Final = ("vectors", "workers")  # parts that are run when they are asked for
NAMESPACE: Final = "memories"
WARM_UP: Final = "warm-up"


@dataclass(frozen=True)
class Plan:
    """The sizes of a run."""

    parts: frozenset[str]
    sizes: Sequence[int]  # namespaces to build: footprint, backfill and search are measured at each
    ingest_texts: int
    repeats: int
    searches: int  # per phase
    adds: int  # per phase
    fresh_adds: int
    per_call: int  # memories in one bulk call
    seed: int
    data: Path | None
    sets: Sequence[str]
    work: Path  # a folder on a real disk
    objects: bool = False  # searches with shards in an object store, against a directory, are measured too
    new_store: Callable[[], Mapping[str, str]] = dict  # variables that name an empty record store; none: files

    def wants(self, *parts: str) -> bool:
        """Say whether any of these parts is to be measured."""
        return any(part in self.parts for part in parts)

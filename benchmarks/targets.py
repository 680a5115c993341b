"""The figures that this server set out to reach, on two cores. A run is held against them, never tuned to them."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Target:
    """A bound on a figure; ``memories`` is the size of namespace it was set for, ``None`` for any."""

    bound: float
    unit: str
    at_least: bool = False
    memories: int | None = None

    def judge(self, value: float, memories: int | None) -> bool | None:
        """Say whether a value meets the target; ``None`` when it was measured at another size."""
        if self.memories is not None and memories != self.memories:
            return None
        return value >= self.bound if self.at_least else value <= self.bound

    def __str__(self) -> str:
        sign = "≥" if self.at_least else "≤"
        size = f" at {self.memories:,}" if self.memories else ""
        return f"{sign} {self.bound:g} {self.unit}".rstrip() + size


TARGETS: Final = {
    ("ingest", "service ÷ raw limit"): Target(0.85, "", at_least=True),
    ("search", "p50, 1 client"): Target(8, "ms", memories=100_000),
    ("search", "p99, 1 client"): Target(25, "ms", memories=100_000),
    ("search", "p99, 1 client, during a backfill"): Target(25, "ms", memories=100_000),
    ("adds", "adds ÷ empty endpoint, 32 clients"): Target(0.4, "", at_least=True),
    ("adds", "p50, 1 client"): Target(12, "ms"),
    ("freshness", "p50"): Target(250, "ms"),
    ("freshness", "p99"): Target(1_000, "ms"),
    ("freshness", "p99, during a backfill"): Target(2_000, "ms"),
    ("quality", "locomo-dev hybrid R@10"): Target(0.68, "", at_least=True),
    ("quality", "locomo-dev fused lead over the better arm"): Target(0, "", at_least=True),
    ("quality", "scifact fused lead over the better arm"): Target(0, "", at_least=True),
    ("quality", "cacm fused lead over the better arm"): Target(0, "", at_least=True),
    ("quality", "memdaily-zh-dev fused lead over the better arm"): Target(0, "", at_least=True),
    ("memory", "RSS of all processes"): Target(700, "MB", memories=10_000),
    ("opening", "cold, first search of a fresh server"): Target(1_500, "ms", memories=100_000),
    ("opening", "warm, by a second process"): Target(5, "ms", memories=100_000),
    ("workers", "two workers ÷ one, per core"): Target(0.9, "", at_least=True),
    ("vectors", "p99, 1 client"): Target(25, "ms", memories=1_000_000),
    ("vectors", "RSS of all processes"): Target(4_000, "MB", memories=1_000_000),
    ("backfill", "worker RSS, end ÷ middle"): Target(1.1, "", memories=100_000),
}


def target_of(part: str, name: str) -> Target | None:
    """Return the target of a figure, if it has one."""
    return TARGETS.get((part, name))

"""What a run brings home: figures with their units, series, and the targets they are held against."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks.summaries import percentile, spread
from benchmarks.targets import target_of


@dataclass(frozen=True)
class Figure:
    """One measured number. ``memories`` is the size of the namespace it was measured on, where that matters."""

    part: str
    name: str
    value: float
    unit: str
    memories: int | None = None
    low: float | None = None
    high: float | None = None
    samples: int = 1

    def as_json(self) -> dict[str, Any]:
        """Return the figure with its target and whether it is met (null: no target at this size)."""
        body = {name: value for name, value in asdict(self).items() if value is not None}
        target = target_of(self.part, self.name)
        if target:
            body["target"] = str(target)
            body["met"] = target.judge(self.value, self.memories)
        return body


@dataclass
class Results:
    """Everything of one run. ``texts`` says what was ingested."""

    texts: str = ""
    figures: list[Figure] = field(default_factory=list)
    series: dict[str, Sequence[Mapping[str, float]]] = field(default_factory=dict)
    sections_s: dict[str, float] = field(default_factory=dict)


def repeated(part: str, name: str, values: Sequence[float], unit: str, memories: int | None = None) -> Figure:
    """Return the median of repeats with their least and greatest."""
    found = spread(values)
    return Figure(part, name, found.middle, unit, memories, found.low, found.high, found.count)


def latencies(
    part: str,
    label: str,
    samples_ms: Sequence[float],
    memories: int | None = None,
    shares: Sequence[int] = (50, 95, 99),
) -> list[Figure]:
    """Return a figure for each percentile of some latencies."""
    return [
        Figure(
            part,
            f"p{share}{label}",
            percentile(samples_ms, share / 100),
            "ms",
            memories,
            min(samples_ms),
            max(samples_ms),
            len(samples_ms),
        )
        for share in shares
    ]

"""Summaries of samples: percentiles, and the spread of repeats."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median


def percentile(samples: Sequence[float], share: float) -> float:
    """Return the smallest sample that at least ``share`` (0 to 1) of the samples do not exceed.

    Always one of the samples (nearest rank): an interpolated p99 would be a latency that nobody saw.
    """
    if not samples:
        raise ValueError("there are no samples")
    if not 0 <= share <= 1:
        raise ValueError("the share must lie between 0 and 1")
    ordered = sorted(samples)
    rank = max(1, -int(-share * len(ordered) // 1))  # ceiling
    return ordered[rank - 1]


@dataclass(frozen=True)
class Spread:
    """The median of repeats, with the least and the greatest of them."""

    middle: float
    low: float
    high: float
    count: int


def spread(samples: Sequence[float]) -> Spread:
    """Return the spread of samples, at least one."""
    if not samples:
        raise ValueError("there are no samples")
    return Spread(median(samples), min(samples), max(samples), len(samples))


def bracketed_ratios(outer: Sequence[float], inner: Sequence[float]) -> list[float]:
    """Return each inner figure divided by the mean of the outer ones measured right before and right after it.

    A machine that grows slower or faster in the course of a run moves both alike, so the ratio stands.
    """
    if len(outer) != len(inner) + 1:
        raise ValueError("each inner figure must lie between two outer ones")
    return [each / ((outer[index] + outer[index + 1]) / 2) for index, each in enumerate(inner)]


def thirds(samples: Sequence[float]) -> tuple[float, float, float]:
    """Return the medians of the first, the second and the last third of a series."""
    if not samples:
        raise ValueError("there are no samples")
    cut = max(1, len(samples) // 3)
    middle = samples[cut : len(samples) - cut] or samples
    return median(samples[:cut]), median(middle), median(samples[-cut:])

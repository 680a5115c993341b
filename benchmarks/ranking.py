"""Measures of a ranking against the ids that were judged relevant, each equally so."""

import math
from collections.abc import Collection, Sequence


def recall_at(ranked: Sequence[str], relevant: Collection[str], depth: int) -> float:
    """Return the share of the relevant ids found among the first ``depth``."""
    return len(set(ranked[:depth]) & set(relevant)) / len(relevant)


def reciprocal_rank(ranked: Sequence[str], relevant: Collection[str]) -> float:
    """Return 1 / the place of the first relevant id, 0 when there is none."""
    return next((1 / place for place, id_ in enumerate(ranked, start=1) if id_ in relevant), 0.0)


def ndcg_at(ranked: Sequence[str], relevant: Collection[str], depth: int) -> float:
    """Return the normalised discounted cumulative gain of the first ``depth``, with gains of 0 and 1."""
    gain = sum(1 / math.log2(place + 1) for place, id_ in enumerate(ranked[:depth], start=1) if id_ in relevant)
    ideal = sum(1 / math.log2(place + 1) for place in range(1, min(depth, len(relevant)) + 1))
    return gain / ideal

"""Cutting texts into batches by what they cost: padded tokens, not rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from core.embedding.manifest import Precision
from core.embedding.targets import Device


@dataclass(frozen=True, slots=True)
class BatchBounds:
    """What one batch may cost: ``tokens`` with padding, ``rows``."""

    tokens: int
    rows: int


_BOUNDS: Final[dict[Device, BatchBounds]] = {
    "cpu": BatchBounds(tokens=512, rows=256),  # the fastest of those measured
    "cuda": BatchBounds(tokens=16_384, rows=1_024),  # a guess: about 0.4 GB of states and attention for MiniLM
}


def bounds_of(device: Device, precision: Precision) -> BatchBounds:
    """Return the bounds for a device. int8 runs alone: its activations are scaled over everything in a run."""
    bounds = _BOUNDS[device]
    return BatchBounds(bounds.tokens, 1) if precision == "int8" else bounds


def cut_batches(lengths: Sequence[int], *, tokens_max: int, rows_max: int) -> list[list[int]]:
    """Return batches of indices into ``lengths``; every index appears exactly once.

    A batch is padded to its longest member, so it costs rows x longest tokens. Texts are taken longest
    first: neighbours then have similar lengths, little is padding, and the dearest batches start first,
    which keeps several workers busy to the end. No batch costs more than ``tokens_max`` or has more than
    ``rows_max`` rows, except that a text dearer than the budget travels alone.

    Raises ``ValueError`` when a limit is below one.
    """
    if tokens_max < 1 or rows_max < 1:
        raise ValueError("a batch needs room for at least one token and one row")
    batches: list[list[int]] = []
    room = 0
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if room == 0:
            batches.append([])
            room = min(rows_max, max(1, tokens_max // max(1, lengths[index])))
        batches[-1].append(index)
        room -= 1
    return batches

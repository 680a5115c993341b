"""Cutting texts into batches by what they cost: padded tokens, not rows."""

from collections.abc import Sequence


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

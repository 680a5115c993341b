"""Cutting a long token sequence into overlapping windows, so that nothing is silently lost."""

from collections.abc import Sequence
from typing import Final

OVERLAP_TOKENS: Final = 32  # about two sentences: a thought on a border is whole in one of its windows


def cut_windows(
    body: Sequence[int], *, head: Sequence[int], tail: Sequence[int], max_tokens: int, overlap: int
) -> list[list[int]]:
    """Return the windows of ``body``, each between ``head`` and ``tail`` and at most ``max_tokens`` long.

    All arguments count tokens. Every token of ``body`` lies in some window, in order; neighbours share at
    least ``overlap`` tokens; the first window begins with the body and the last one ends with it. Starts are
    spread evenly, so no window is a stub whose vector would say little. An empty body gives one window.

    Raises ``ValueError`` when head, tail and overlap leave no room to advance.
    """
    room = max_tokens - len(head) - len(tail)
    if overlap < 0 or room <= overlap:
        raise ValueError(f"a window of {max_tokens} tokens leaves room for {room}: no advance with overlap {overlap}")
    rest = len(body) - room
    if rest <= 0:
        return [[*head, *body, *tail]]
    steps = -(-rest // (room - overlap))
    starts = [rest * step // steps for step in range(steps + 1)]
    return [[*head, *body[start : start + room], *tail] for start in starts]

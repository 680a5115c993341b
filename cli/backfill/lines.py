"""Lines of a stream, bounded: one without an end takes no more memory than the longest that is allowed."""

from collections.abc import Callable, Iterator
from typing import BinaryIO

from core import limits

_MARK = b"\xef\xbb\xbf"  # some editors begin UTF-8 with it


def read_lines(stream: BinaryIO, bytes_max: int = limits.BODY_BYTES_MAX) -> Iterator[tuple[int, bytes | None]]:
    """Yield each line's number and bytes, its end included; ``None`` for one that is too long."""
    number = 0
    while line := stream.readline(bytes_max + 1):
        number += 1
        if number == 1:
            line = line.removeprefix(_MARK)
        if len(line) <= bytes_max:
            yield number, line
            continue
        while line and not line.endswith(b"\n"):
            line = stream.readline(bytes_max)
        yield number, None


def share_of(position: Callable[[], int], size: int) -> float:
    """Return how far a file of ``size`` bytes is read, 0 to 1."""
    return min(1.0, position() / size) if size else 1.0

"""Cutting lines into calls: the same rows always give the same calls, so one that is repeated is known as such."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from cli.backfill.judging import Good

ROWS_MAX: Final = 2_000  # of a call: four claims of an embed worker, and a transaction of 0.2 s
BYTES_MAX: Final = 8 * 2**20  # of a call: 2,000 rows with vectors have half of it


@dataclass(frozen=True)
class Chunk:
    """The lines of one call, in the order of their rows."""

    rows: Sequence[Good]
    salt: bytes  # of the namespace and the run

    @cached_property
    def key(self) -> str:
        """The Idempotency-Key: a digest of everything that is sent, so that equal calls are one write."""
        digest = hashlib.sha256(self.salt)
        for row in self.rows:
            digest.update(b"\n" + row.line)
        return digest.hexdigest()[:32]

    @cached_property
    def touches(self) -> frozenset[int]:
        """What its rows share with others."""
        return frozenset(touch for row in self.rows for touch in row.touches)


def cut(rows: Iterable[Good], salt: bytes, rows_max: int = ROWS_MAX, bytes_max: int = BYTES_MAX) -> Iterator[Chunk]:
    """Yield the rows in chunks within both bounds; a row beyond ``bytes_max`` stands alone."""
    held: list[Good] = []
    size = 0
    for row in rows:
        if held and (len(held) == rows_max or size + len(row.line) + 1 > bytes_max):
            yield Chunk(held, salt)
            held, size = [], 0
        held.append(row)
        size += len(row.line) + 1
    if held:
        yield Chunk(held, salt)

"""JSON lines: an object each."""

from collections.abc import Callable, Iterator
from typing import BinaryIO

import orjson

from cli.backfill.lines import read_lines
from cli.backfill.rows import MALFORMED_JSON, TOO_LARGE, Fault, Row
from core import limits


class JsonRows:
    """Reads JSON lines; ``share()`` says how much of the file is read."""

    spelled = False
    columns = None

    def __init__(self, stream: BinaryIO, share: Callable[[], float]) -> None:
        self._stream = stream
        self._share = share

    @property
    def share(self) -> float:
        """How much of the file is read, 0 to 1."""
        return self._share()

    def rows(self, wanted: tuple[str, ...] | None) -> Iterator[Row | Fault]:  # noqa: ARG002 - a line is read whole
        """Yield the rows; blank lines are passed over."""
        for number, line in read_lines(self._stream):
            if line is None:
                yield Fault(number, TOO_LARGE, f"is longer than {limits.BODY_BYTES_MAX} bytes; split it")
            elif line.strip():
                yield self._parse(number, line)

    @staticmethod
    def _parse(number: int, line: bytes) -> Row | Fault:
        try:
            fields = orjson.loads(line)
        except orjson.JSONDecodeError:
            return Fault(number, MALFORMED_JSON, "is not JSON")
        return Row(number, fields) if isinstance(fields, dict) else Fault(number, MALFORMED_JSON, "is not an object")

"""Which calls the server has answered: so that a backfill that was cut off does not send them again.

Only a saving. The server knows each call by its key, so a lost journal costs time, and a doubled call changes nothing.
It holds keys and counts, nothing of the rows, and is gone once the backfill is complete: from then on, the server alone
says what was written.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from core.errors import ConfigurationError


@dataclass(frozen=True)
class Answered:
    """What the server said to a call."""

    accepted: int
    rejected: int


class Journal:
    """One file, a line for each answered call; a line that was cut off is passed over."""

    def __init__(self, path: Path) -> None:
        """Open it. Raises ``ConfigurationError`` when it cannot be written."""
        self._path = path
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        except OSError as error:
            raise ConfigurationError(f"--journal: {path} cannot be written: {error.strerror}; name another") from None
        self._file = os.fdopen(handle, "r+b", buffering=0)
        self.answered = dict(_parse(self._file.readall()))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def note(self, key: str, answered: Answered) -> None:
        """Add a call. Without a sync: a power cut loses the last ones, and they are sent again."""
        self._file.write(f"\n{key} {answered.accepted} {answered.rejected} .\n".encode())

    def remove(self) -> None:
        """Forget all of it: the backfill is complete."""
        self._path.unlink(missing_ok=True)


def _parse(content: bytes) -> list[tuple[str, Answered]]:
    found = []
    for line in content.decode("ascii", "replace").splitlines():
        words = line.split(" ")
        if len(words) == 4 and words[3] == "." and words[1].isdecimal() and words[2].isdecimal():
            found.append((words[0], Answered(int(words[1]), int(words[2]))))
    return found

"""Arrays of opened shards: numpy files, memory-mapped."""

import threading
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

# numpy reads a file's header with ``ast``, which counts its recursion once for all threads of an interpreter: when the
# garbage collector lets another thread in at the wrong moment, both raise SystemError (CPython issue 106905).
_HEADER: Final = threading.Lock()


def map_array(path: Path) -> npt.NDArray[Any]:
    """Return the array of a file, read-only. Raises ``OSError``, ``ValueError`` for what is none."""
    with _HEADER:
        mapped: npt.NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    return np.asarray(mapped)  # the same pages without the subclass, whose every slice costs microseconds

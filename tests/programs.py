"""Programs of others that tests run for real: unpacked into the environment by `make test`, or installed."""

import shutil
import sys
from pathlib import Path


def program(name: str) -> str:
    """Return where a program is."""
    unpacked = Path(sys.prefix) / "programs" / "usr"
    found = shutil.which(name, path=f"{unpacked}/sbin:{unpacked}/bin:/usr/sbin:/usr/bin:/usr/local/bin")
    assert found, f"{name} is not here; `make test` unpacks it where apt can bring it, else install it"
    return found

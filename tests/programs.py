"""Programs of others that tests run for real: unpacked into the environment by `make test`, or installed."""

import os
import shutil
import sys
from pathlib import Path

UNPACKED = Path(sys.prefix) / "programs"


def program(name: str) -> str:
    """Return where a program is."""
    folders = [*(UNPACKED / folder for folder in ("usr/sbin", "usr/bin", "sbin", "bin")), "/usr/sbin", "/usr/bin"]
    found = shutil.which(name, path=":".join(map(str, [*folders, "/sbin", "/bin", "/usr/local/bin"])))
    assert found, f"{name} is not here; `make test` unpacks it where apt can bring it, else install it"
    return found


def environment_of(found: str) -> dict[str, str]:
    """Return the variables that a program runs with: one that was unpacked finds the libraries that were, too."""
    if not found.startswith(str(UNPACKED)):
        return dict(os.environ)
    libraries = UNPACKED / "usr" / "lib" / f"{os.uname().machine}-linux-gnu"
    return os.environ | {"LD_LIBRARY_PATH": f"{libraries}:{libraries / 'systemd'}"}

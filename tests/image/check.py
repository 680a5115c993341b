"""Build the image `server` as compose/Dockerfile says, without a container engine, and try it: ``make image-check``.

Alone, then as the roles of compose.yaml around a real PostgreSQL and Redis.

It needs root, debootstrap and a network, and takes minutes and gigabytes. What it is not: the real base image, layers,
the engine's own seccomp and network.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

from tests.image.building import Builder
from tests.image.fleettrial import FleetTrial
from tests.image.imagetrial import Trial

_MACHINE = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "http_proxy", "https_proxy", "no_proxy")


def main() -> int:
    """Build, try, say what happened."""
    options = argparse.ArgumentParser(prog="python -m tests.image.check", description=__doc__)
    options.add_argument("folder", type=Path, help="where root file systems are built; those that are there are kept")
    options.add_argument("--lend", action="append", default=[], help="a file or folder that pip needs on this machine")
    options.add_argument("--trial", action="store_true", help=argparse.SUPPRESS)
    chosen = options.parse_args()
    lent = {path: path for path in ["/etc/resolv.conf", "/etc/hosts", *chosen.lend] if Path(path).exists()}
    machine = {name: os.environ[name] for name in os.environ if name.startswith("PIP_") or name in _MACHINE}
    built = Builder(chosen.folder, lent, machine, say).build("server")
    if chosen.trial:
        Trial(built, say).run()
        FleetTrial(built, say).run()
        say("2 passed, 0 failed")
        return 0
    # A network of its own, as a container has: the ports that the images name are free in it.
    alone = 'ip link set lo up && exec "$@"'
    again = [sys.executable, "-m", "tests.image.check", str(chosen.folder), "--trial"]
    return subprocess.run(["unshare", "--net", "sh", "-c", alone, "sh", *again], check=False).returncode


def say(line: str) -> None:
    """Write a line for whoever ran it."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    raise SystemExit(main())

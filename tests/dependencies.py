"""Compare the pinned dependencies with published advisories: ``make audit-deps``, and a part of ``make check``.

A known advisory is status 1. An index that cannot be reached, or that publishes no advisories, is said plainly and is
status 0: a machine without one must be able to check its code. One package is asked about first, so that such an index
is left alone.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

CONSTRAINTS: Final = Path(__file__).parents[1] / "constraints.txt"
PROBE: Final = "cryptography=="
REQUEST_S: Final = 10
AUDIT_S: Final = 120


def main() -> int:
    """Audit, say what came of it, return the status."""
    pins = [line for line in CONSTRAINTS.read_text().splitlines() if "==" in line]
    for chosen in ([pin for pin in pins if pin.startswith(PROBE)], pins):
        audited = [each for each in audit(chosen) if "vulns" in each]
        if not audited:
            say("dependencies: NOT audited, no advisory index was reached; run `make audit-deps` where one can be")
            return 0
    advisories = [(each, vulnerability) for each in audited for vulnerability in each["vulns"]]
    for each, vulnerability in advisories:
        fixed = ", ".join(vulnerability["fix_versions"]) or "none yet"
        say(f"dependencies: {each['name']} {each['version']}: {vulnerability['id']}; fixed in: {fixed}")
    say(f"dependencies: {len(audited)} of {len(pins)} audited, {len(advisories)} known advisories")
    return 1 if advisories else 0


def audit(pins: Sequence[str]) -> list[dict[str, Any]]:
    """Return what pip-audit found out about each pin; nothing when it found out nothing in time."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as listed:
        listed.write("\n".join(pins))
        listed.flush()
        options = ["--no-deps", "--disable-pip", "--progress-spinner", "off", "--timeout", str(REQUEST_S)]
        command = [sys.executable, "-m", "pip_audit", "--requirement", listed.name, "--format", "json", *options]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=AUDIT_S, check=False)
            found: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
        except (subprocess.TimeoutExpired, ValueError):
            return []
    return found


def say(line: str) -> None:
    """Write a line for whoever ran it."""
    sys.stdout.write(line + "\n")


if __name__ == "__main__":
    raise SystemExit(main())

"""How many cores this process may really use."""

import os
from pathlib import Path, PurePosixPath


def available_cores(*, membership: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")) -> int:
    """Return the number of cores to plan for, at least 1.

    It is the smaller of the scheduler's affinity and the tightest ``cpu.max`` of this process's control
    group (version 2) and its ancestors, rounded down: a container limited to half a core on a 64-core host
    must not start 64 threads, and threads beyond the quota would only be throttled.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = [quota for folder in _groups(membership, root) if (quota := _quota(folder)) is not None]
    return max(1, min([cores, *(int(quota) for quota in quotas)]))


def _groups(membership: Path, root: Path) -> list[Path]:
    """Return this process's control group folder and its ancestors up to ``root``."""
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return []
    for line in lines:
        if line.startswith("0::/"):
            path = PurePosixPath(line.removeprefix("0::/"))
            return [root / folder for folder in (path, *path.parents)]
    return []


def _quota(folder: Path) -> float | None:
    """Return the cores granted by ``folder``'s ``cpu.max``, or None where it sets no limit."""
    try:
        quota, period = (folder / "cpu.max").read_text().split()
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None
